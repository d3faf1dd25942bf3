"""Reinforcement learning from groups of rollouts: the algorithm, its tasks, its loop."""
