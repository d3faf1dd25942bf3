"""The step loop: rows of many adapters share every forward pass of the model."""
