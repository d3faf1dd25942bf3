"""What one optimiser step asks of the backend, and what its clipping held back.

Of its datums [T], `weights` hold what each token counts (0 where the policy did not speak),
`logprobs` those of the old policy, `advantages` each token's advantage times what it counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from actors.train.backend import Passed, Pending, TrainingBackend
from actors.train.custom_loss import CustomLoss, forward_backward_custom
from actors.train.datum import Datum
from actors.train.grpo.gspo import gspo, log_sequence_ratio
from actors.train.grpo.kl import k2, k3
from actors.train.grpo.ratios import clipped
from actors.train.losses import LOSSES, Ratios, TokenInputs
from configs.grpo import GrpoConfig

_KL_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k2": k2, "k3": k3}


def pass_config(config: GrpoConfig) -> dict[str, float]:
    """Settings of every pass. A service's passes know no temperature, and need none at 1."""
    return {} if config.temperature == 1 else {"temperature": config.temperature}


def bounds_of(config: GrpoConfig) -> Ratios:
    """Where ratios are clipped."""
    low = 0.0 if config.loss == "cispo" else 1 - config.clip_low
    return Ratios(low, 1 + config.clip_high)


def ask(
    backend: TrainingBackend,
    datums_D: Sequence[Datum],
    base_D: Sequence[np.ndarray] | None,
    config: GrpoConfig,
) -> Pending[Passed]:
    """Add the gradients of the config's loss; `base_D` are the base's log-probabilities [T]."""
    if config.loss == "gspo" or _kl_is_in_loss(config):
        loss = _custom(base_D, config)
        settings = pass_config(config)
        return forward_backward_custom(backend, datums_D, loss, settings, weighted_only=True)
    named = [replace(datum, weights=None) for datum in datums_D]
    return backend.forward_backward(named, config.loss, _settings(config) | pass_config(config))


def clipped_of(passed: Passed, datums_D: Sequence[Datum], config: GrpoConfig) -> list[Tensor]:
    """[D] of booleans: of each token that counts, for gspo of each answer."""
    found = []
    for datum, told in zip(datums_D, passed.logprobs, strict=True):
        said, old, advantages = _spoken(datum)
        # Where the advantage is 0 nothing was computed, and nothing can be clipped.
        gaps = torch.where(advantages != 0, torch.from_numpy(told)[said] - old, 0.0)
        if config.loss == "gspo":
            gaps = log_sequence_ratio(gaps, torch.zeros_like(gaps)).reshape(1)
            advantages = advantages.sum().reshape(1)
        found.append(clipped(config.loss, gaps.exp(), advantages, bounds_of(config)))
    return found


def _custom(base_D: Sequence[np.ndarray] | None, config: GrpoConfig) -> CustomLoss:
    def loss(
        datums_D: Sequence[Datum], logprobs_D: list[Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        total = torch.zeros((), dtype=torch.float64)
        for i, (datum, logprobs) in enumerate(zip(datums_D, logprobs_D, strict=True)):
            said, old, advantages = _spoken(datum)
            new = logprobs[said]
            total = total + _policy_loss(new, old, advantages, config)
            if base_D is not None and _kl_is_in_loss(config):
                base, counts = torch.from_numpy(base_D[i])[said], torch.tensor(datum.weights)[said]
                divergence = (_KL_LOSSES[config.kl_in](new, base) * counts).sum()
                total = total + config.kl_to_base * divergence
        return total, {}

    return loss


def _policy_loss(new: Tensor, old: Tensor, advantages: Tensor, config: GrpoConfig) -> Tensor:
    if config.loss == "gspo":
        return gspo(new, old, advantages, _settings(config))
    given = TokenInputs(sampled_logprobs=old, advantages=advantages)
    return LOSSES[config.loss](new, given, _settings(config))


def _spoken(datum: Datum) -> tuple[Tensor, Tensor, Tensor]:
    """Where the policy spoke [T]; old log-probabilities and advantages there [N]."""
    assert datum.weights is not None
    assert datum.logprobs is not None
    assert datum.advantages is not None
    said = torch.from_numpy(datum.weights != 0)
    return said, torch.from_numpy(datum.logprobs)[said], torch.from_numpy(datum.advantages)[said]


def _settings(config: GrpoConfig) -> dict[str, float]:
    if config.loss == "importance_sampling":
        return {}
    bounds = bounds_of(config)
    return {"clip_low_threshold": bounds.low, "clip_high_threshold": bounds.high}


def _kl_is_in_loss(config: GrpoConfig) -> bool:
    return config.kl_to_base > 0 and config.kl_in != "reward"
