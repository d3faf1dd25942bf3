"""A step's learning: a batch of rollouts in, a policy that has learned from it.

Where a batch is learned from by one update, the old policy is the pass itself: the ratio is 1,
every loss has REINFORCE's gradient, and one pass does. Where there are several, or a divergence
from the base counts, a pass before the first tells the trainer's own old log-probabilities. The
sampler's weigh tokens where truncated importance sampling is on. In any case they are compared
with the trainer's: the two must be the same policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from actors.train.backend import AdamParams, TrainingBackend
from actors.train.grpo.lessons import Lesson, everything, lessons_of
from actors.train.grpo.ratios import Agreement, agreement
from actors.train.grpo.rollout import Batch
from actors.train.grpo.updates import Updated, measure, update_often, update_once
from configs.grpo import GrpoConfig


@dataclass(frozen=True)
class Learnt:
    """What a batch taught, under the names of GrpoMetrics. Not finite where the policy broke."""

    loss: float  # mean over the updates, as are `clipped` and `grad_norm`
    clipped: float
    grad_norm: float | None
    kl_base: float | None
    kl: float
    ratio: float
    abs_ratio: float
    ess: float
    entropy: float
    no_signal: int
    advantages_P: Sequence[NDArray[np.float64]]  # [P][G], zeros for groups without signal


def learn(backend: TrainingBackend, batch: Batch, config: GrpoConfig, adam: AdamParams) -> Learnt:
    """Learn from a batch. One without any signal takes no optimiser step and is only looked at."""
    taught = lessons_of(batch, config)
    if any(lesson.advantage for lesson in taught.lessons_D):
        updated = _update(backend, taught.lessons_D, config, adam, batch.position)
        grad_norm = fmean(updated.grad_norms) if updated.grad_norms else None
    else:
        updated, grad_norm = measure(backend, everything(batch.groups_P), config), 0.0
    agreed = _agreement(updated)
    return Learnt(
        loss=fmean(updated.losses or [0.0]),
        clipped=_share(updated.clipped),
        grad_norm=grad_norm,
        kl_base=updated.kl_base,
        **agreed._asdict(),
        entropy=_entropy(batch),
        no_signal=taught.no_signal,
        advantages_P=taught.advantages_P,
    )


def _update(
    backend: TrainingBackend,
    lessons_D: Sequence[Lesson],
    config: GrpoConfig,
    adam: AdamParams,
    order: int,
) -> Updated:
    if config.minibatches * config.epochs == 1 and not config.kl_to_base:
        return update_once(backend, lessons_D, config, adam)
    return update_often(backend, lessons_D, config, adam, order)


def _agreement(updated: Updated) -> Agreement:
    """Over all tokens that were looked at, before the first update."""
    trainer = [
        told[lesson.said] for lesson, told in zip(updated.lessons_D, updated.before_D, strict=True)
    ]
    sampler = [_sampled(lesson) for lesson in updated.lessons_D]
    if not trainer:
        return Agreement()
    return agreement(*(torch.from_numpy(np.concatenate(told)) for told in (trainer, sampler)))


def _sampled(lesson: Lesson) -> NDArray[np.float32]:
    """The sampler's log-probabilities [N] of what the policy said."""
    assert lesson.datum.logprobs is not None
    return lesson.datum.logprobs[lesson.said]


def _entropy(batch: Batch) -> float:
    """Minus the mean log-probability of what was sampled, by the sampler; 0 of nothing."""
    rollouts = (rollout for group in batch.groups_P for rollout in group.rollouts_G)
    told = [logprob for rollout in rollouts for turn in rollout.turns for logprob in turn.logprobs]
    return fmean(-logprob for logprob in told) if told else 0.0


def _share(of: Sequence[torch.Tensor]) -> float:
    """Of those that are true; 0 of nothing."""
    return torch.cat([*of]).double().mean().item() if of else 0.0
