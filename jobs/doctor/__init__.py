"""What is missing on this machine or cluster."""
