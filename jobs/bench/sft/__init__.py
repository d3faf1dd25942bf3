"""The bench of fine-tuning: our loop and TRL's trainer on the same rows, and what shells cost.

Each side is a process of its own, held to one thread. Reading, tokenizing and loading are done when
the clock starts.
"""
