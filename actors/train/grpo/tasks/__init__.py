"""What GRPO trains on: problems of files, of the hub and made here, and checkers of answers."""
