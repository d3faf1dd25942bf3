"""One completion while it is sampled: its tokens, their choice, and when it ends."""
