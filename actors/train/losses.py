"""Losses: sums over tokens, never means.

A sum can be split over micro-batches and ranks and added up again; what it is divided by is in
the weights or the advantages. Names, signs and defaults are Tinker's.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

LossName = Literal["cross_entropy", "importance_sampling", "ppo", "cispo"]


class TokenInputs(NamedTuple):
    """What is given of N tokens; what a loss does not read may be None."""

    weights: Tensor | None = None  # [N]
    sampled_logprobs: Tensor | None = None  # [N], the sampler's own
    advantages: Tensor | None = None  # [N]

    def part(self, places: slice) -> "TokenInputs":
        """Those of some of the tokens."""
        return TokenInputs(*(None if given is None else given[places] for given in self))


class Ratios(NamedTuple):
    """Bounds of the probability ratio between trainer and sampler."""

    low: float
    high: float


# (log-probabilities of the targets [N], their inputs, settings) -> the sum over them, a scalar
Loss = Callable[[Tensor, TokenInputs, Mapping[str, float]], Tensor]


def cross_entropy(logprobs: Tensor, given: TokenInputs, config: Mapping[str, float]) -> Tensor:
    """-(logprob * weight)."""
    return -(logprobs * _needed(given.weights, "weights")).sum()


def importance_sampling(
    logprobs: Tensor, given: TokenInputs, config: Mapping[str, float]
) -> Tensor:
    """-(ratio * advantage): the policy gradient, corrected for who sampled."""
    return -(_ratio(logprobs, given) * _needed(given.advantages, "advantages")).sum()


def ppo(logprobs: Tensor, given: TokenInputs, config: Mapping[str, float]) -> Tensor:
    """-min(ratio * A, clip(ratio) * A) (Schulman et al. 2017, eq. 7)."""
    bounds = _bounds(config, Ratios(0.8, 1.2))
    ratio, advantages = _ratio(logprobs, given), _needed(given.advantages, "advantages")
    clipped = ratio.clamp(bounds.low, bounds.high)
    return -torch.minimum(ratio * advantages, clipped * advantages).sum()


def cispo(logprobs: Tensor, given: TokenInputs, config: Mapping[str, float]) -> Tensor:
    """-(stop_gradient(clip(ratio)) * logprob * A) (MiniMax-M1, 2025, eq. 4)."""
    bounds = _bounds(config, Ratios(0.0, 4.0))
    clipped = _ratio(logprobs, given).clamp(bounds.low, bounds.high).detach()
    return -(clipped * logprobs * _needed(given.advantages, "advantages")).sum()


LOSSES: dict[LossName, Loss] = {
    "cross_entropy": cross_entropy,
    "importance_sampling": importance_sampling,
    "ppo": ppo,
    "cispo": cispo,
}


def _ratio(logprobs: Tensor, given: TokenInputs) -> Tensor:
    return torch.exp(logprobs - _needed(given.sampled_logprobs, "logprobs"))


def _bounds(config: Mapping[str, float], default: Ratios) -> Ratios:
    return Ratios(
        config.get("clip_low_threshold", default.low),
        config.get("clip_high_threshold", default.high),
    )


def _needed(given: Tensor | None, name: str) -> Tensor:
    if given is None:
        raise ValueError(f"this loss needs datums with {name}")
    return given
