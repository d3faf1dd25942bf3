"""Log-likelihoods of given continuations, under many adapters at once."""
