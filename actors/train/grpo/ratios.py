"""What the probability ratios between two policies tell, over N tokens."""

from typing import NamedTuple

import torch
from torch import Tensor

from actors.train.grpo.kl import k3
from actors.train.losses import Ratios
from configs.grpo import PolicyLossName


class Agreement(NamedTuple):
    """How far the trainer is from the sampler, on the sampler's own tokens."""

    kl: float = 0.0  # of the trainer from the sampler, by k3
    ratio: float = 1.0  # mean of exp(trainer - sampler)
    abs_ratio: float = 1.0  # mean of exp|trainer - sampler|
    ess: float = 1.0  # effective sample size, as a share of the tokens


def agreement(trainer: Tensor, sampler: Tensor) -> Agreement:
    """Of log-probabilities [N]; of no tokens, that of the same policy.

    The effective sample size of ratios w is (sum w)^2 / (N sum w^2) (Kong 1992).
    """
    if not len(trainer):
        return Agreement()
    trainer, sampler = trainer.double(), sampler.double()
    gap = trainer - sampler
    shares = (gap - gap.max()).exp()  # of the largest: a sum of squares does not overflow
    return Agreement(
        k3(sampler, trainer).mean().item(),
        gap.exp().mean().item(),
        gap.abs().exp().mean().item(),
        (shares.sum().square() / shares.square().sum() / len(gap)).item(),
    )


def clipped(loss: PolicyLossName, ratios: Tensor, advantages: Tensor, bounds: Ratios) -> Tensor:
    """[N], true where a loss's clipping changes what is learned.

    Of ppo and gspo those learn nothing that have gone beyond the bound on the side to which their
    advantage pushes; cispo holds the weight of each at the bound.
    """
    if loss == "importance_sampling":
        return torch.zeros_like(ratios, dtype=torch.bool)
    above, below = ratios > bounds.high, ratios < bounds.low
    if loss == "cispo":
        return (above | below) & (advantages != 0)
    return (above & (advantages > 0)) | (below & (advantages < 0))
