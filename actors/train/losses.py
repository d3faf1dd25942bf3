"""Losses: sums over tokens, never means.

A sum can be split over micro-batches and ranks and added up again; what it is divided by is in
the weights (`actors.train.datum.normalised`).
"""

from collections.abc import Callable
from typing import Literal

import torch

LossName = Literal["cross_entropy"]
# (log-probabilities of the targets [N], their weights [N]) -> scalar
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(logprobs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of -(logprob * weight) over tokens [N]; a scalar."""
    return -(logprobs * weights).sum()


LOSSES: dict[LossName, Loss] = {"cross_entropy": cross_entropy}
