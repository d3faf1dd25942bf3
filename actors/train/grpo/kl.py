"""Estimators of KL(policy || other) on tokens that the policy sampled, one number a token.

From Schulman 2020, "Approximating KL divergence". k1 and k3 have the divergence as their mean, k2
nearly. As a loss it is the other way round: the gradient of k2 has the divergence's gradient as its
mean, that of k1 has the mean 0, that of k3 is another direction (Tang and Munos 2025, "On a few
pitfalls in KL divergence gradient estimation for RL").
"""

from torch import Tensor


def k1(policy: Tensor, other: Tensor) -> Tensor:
    """The log ratio; of log-probabilities [N] of the same tokens, as are all."""
    return policy - other


def k2(policy: Tensor, other: Tensor) -> Tensor:
    """Half its square."""
    return (policy - other).square() / 2


def k3(policy: Tensor, other: Tensor) -> Tensor:
    """exp(-k1) - 1 + k1, which is never below 0."""
    back = other - policy
    return back.expm1() - back
