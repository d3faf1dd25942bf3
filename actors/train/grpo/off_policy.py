"""Truncated importance sampling: what to make of tokens that another policy sampled.

Sampler and trainer differ a little even with the same weights, and by whole steps where the sampler
runs ahead (Ionides 2008; Yao et al. 2025, "Your efficient RL framework secretly brings you
off-policy RL training").
"""

from torch import Tensor


def truncated_weights(trainer: Tensor, sampler: Tensor, cap: float) -> Tensor:
    """min(exp(trainer - sampler), cap) of log-probabilities [N]: factors, nothing flows back."""
    return (trainer - sampler).detach().exp().clamp(max=cap)
