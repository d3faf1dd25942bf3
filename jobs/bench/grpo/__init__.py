"""The bench of reinforcement learning: a step as the job runs it against a step of TRL's trainer.

Each side is a process of its own. Loading and starting are done when the clock starts, and the
first steps are left out.
"""
