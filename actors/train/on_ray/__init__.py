"""Training on Ray Train: workers, restarts, what the driver sees of them."""
