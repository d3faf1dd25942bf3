"""Adapters trained on rewards: the job, what it shows, and its curve."""
