"""The optimiser steps on a batch of lessons: one without an old policy, or several with one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actors.train.backend import AdamParams, Passed, Stepped, TrainingBackend
from actors.train.grpo.kl import k3
from actors.train.grpo.lessons import Lesson
from actors.train.grpo.objective import ask, clipped_of, pass_config
from actors.train.grpo.reductions import token_factors
from actors.train.grpo.token_advantages import token_advantages
from configs.grpo import GrpoConfig


@dataclass
class Updated:
    """What was seen of lessons while they were learned."""

    lessons_D: Sequence[Lesson]  # those that were looked at
    before_D: Sequence[NDArray[np.floating]]  # [T], the trainer's log-probabilities at first
    losses: list[float] = field(default_factory=list)  # of the updates
    grad_norms: list[float] = field(default_factory=list)
    clipped: list[Tensor] = field(default_factory=list)
    kl_base: float | None = None

    def add(self, passed: Passed, stepped: Stepped) -> None:
        """Another update was made."""
        self.losses.append(passed.loss)
        if stepped.grad_norm is not None:
            self.grad_norms.append(stepped.grad_norm)


def measure(backend: TrainingBackend, lessons_D: Sequence[Lesson], config: GrpoConfig) -> Updated:
    """Look at lessons without learning from them."""
    if not lessons_D:
        return Updated([], [])
    datums = [replace(lesson.datum, logprobs=None) for lesson in lessons_D]
    passed = backend.forward(datums, "cross_entropy", pass_config(config)).result()
    return Updated(lessons_D, passed.logprobs)


def update_once(
    backend: TrainingBackend, lessons_D: Sequence[Lesson], config: GrpoConfig, adam: AdamParams
) -> Updated:
    """One step in which the old policy is the pass itself: REINFORCE, whatever the loss.

    With a cap each token also weighs min(exp(trainer - sampler), cap), which is what cispo does
    with the sampler's log-probabilities.
    """
    teaching = [
        (lesson, _float32(lesson.said * count * lesson.advantage))
        for lesson, count in zip(lessons_D, _counts(lessons_D, config), strict=True)
        if lesson.advantage
    ]
    settings = pass_config(config)
    if config.is_cap is None:
        datums = [replace(one.datum, weights=shares, logprobs=None) for one, shares in teaching]
        passing = backend.forward_backward(datums, "cross_entropy", settings)
    else:
        datums = [replace(one.datum, weights=None, advantages=shares) for one, shares in teaching]
        settings |= {"clip_low_threshold": 0.0, "clip_high_threshold": config.is_cap}
        passing = backend.forward_backward(datums, "cispo", settings)
    stepping = backend.optim_step(adam)
    passed = passing.result()
    updated = Updated([lesson for lesson, _ in teaching], passed.logprobs)
    updated.add(passed, stepping.result())
    return updated


def update_often(
    backend: TrainingBackend,
    lessons_D: Sequence[Lesson],
    config: GrpoConfig,
    adam: AdamParams,
    order: int,
) -> Updated:
    """Minibatches by epochs, against the policy as it was before the first of them.

    `order` and the config's seed determine which lessons share a minibatch.
    """
    updated = measure(backend, lessons_D, config)
    old_D = updated.before_D
    base_D = None
    if config.kl_to_base:
        datums = [replace(lesson.datum, logprobs=None) for lesson in lessons_D]
        base_D = backend.reference(datums, pass_config(config)).result().logprobs
        updated.kl_base = _mean_kl(lessons_D, old_D, base_D)
    advantages_D = [
        token_advantages(lesson, old_D[i], None if base_D is None else base_D[i], config)
        for i, lesson in enumerate(lessons_D)
    ]
    for part in _parts(len(lessons_D), config, order):
        counts = _counts([lessons_D[i] for i in part], config)
        datums = [
            replace(
                lessons_D[i].datum,
                weights=_float32(lessons_D[i].said * count),
                logprobs=old_D[i],
                advantages=_float32(advantages_D[i] * count),
            )
            for i, count in zip(part, counts, strict=True)
        ]
        base = None if base_D is None else [base_D[i] for i in part]
        passing = ask(backend, datums, base, config)
        stepping = backend.optim_step(adam)
        passed = passing.result()
        updated.add(passed, stepping.result())
        updated.clipped += clipped_of(passed, datums, config)
    return updated


def _parts(lessons: int, config: GrpoConfig, order: int) -> Iterator[list[int]]:
    for epoch in range(config.epochs):
        drawn = np.random.default_rng([config.seed, order, epoch]).permutation(lessons)
        for part in np.array_split(drawn, min(config.minibatches, lessons)):
            yield part.tolist()


def _counts(lessons_D: Sequence[Lesson], config: GrpoConfig) -> list[float]:
    lengths = [int(lesson.said.sum()) for lesson in lessons_D]
    return token_factors(lengths, config.reduction, config.max_tokens).tolist()


def _mean_kl(
    lessons_D: Sequence[Lesson],
    old_D: Sequence[NDArray[np.floating]],
    base_D: Sequence[NDArray[np.floating]],
) -> float:
    """By k3, per token."""
    said = [lesson.said for lesson in lessons_D]
    old, base = (
        torch.from_numpy(np.concatenate([told[s] for told, s in zip(told_D, said, strict=True)]))
        for told_D in (old_D, base_D)
    )
    return k3(old.double(), base.double()).mean().item()


def _float32(array: NDArray[np.floating]) -> NDArray[np.float32]:
    return array.astype(np.float32)
