"""A batch of rollouts as what is learned from it: sequences, each with its advantage."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.train.datum import Datum
from actors.train.grpo.advantages import advantages
from actors.train.grpo.filters import group_has_signal, is_learned, rewards_of
from actors.train.grpo.rollout import Batch, Group, Rollout, datums_of
from configs.grpo import GrpoConfig


@dataclass(frozen=True)
class Lesson:
    """One sequence that the policy took part in."""

    datum: Datum  # its `weights` are 1 where the policy spoke, its `logprobs` the sampler's
    advantage: float = 0.0

    @property
    def said(self) -> NDArray[np.bool_]:
        """[T], true where the policy spoke."""
        assert self.datum.weights is not None
        return self.datum.weights != 0


class Lessons(NamedTuple):
    """What a batch teaches."""

    lessons_D: list[Lesson]  # of groups with signal, what is masked left out
    advantages_P: list[NDArray[np.float64]]  # [P][G], zeros for groups without signal
    no_signal: int  # groups


def lessons_of(batch: Batch, config: GrpoConfig) -> Lessons:
    """Filters first, then advantages, then sequences."""
    signal_P = [group_has_signal(group, config.overlong) for group in batch.groups_P]
    advantages_P = [
        _advantages(group, config) if signal else np.zeros(len(group.rollouts_G))
        for group, signal in zip(batch.groups_P, signal_P, strict=True)
    ]
    lessons_D = [
        lesson
        for group, advantages_G, signal in zip(batch.groups_P, advantages_P, signal_P, strict=True)
        if signal
        for rollout, advantage in zip(group.rollouts_G, advantages_G.tolist(), strict=True)
        if is_learned(rollout, config.overlong)
        for lesson in lessons_from(rollout, advantage)
    ]
    return Lessons(lessons_D, advantages_P, signal_P.count(False))


def lessons_from(rollout: Rollout, advantage: float = 0.0) -> list[Lesson]:
    """Its sequences in which the policy said anything."""
    spoken = [replace(d, weights=d.advantages, advantages=None) for d in datums_of(rollout)]
    lessons = [Lesson(datum, advantage) for datum in spoken]
    return [lesson for lesson in lessons if lesson.said.any()]


def everything(groups_P: Sequence[Group]) -> list[Lesson]:
    """All that was said, with nothing to learn from it."""
    return [
        lesson
        for group in groups_P
        for rollout in group.rollouts_G
        for lesson in lessons_from(rollout)
    ]


def _advantages(group: Group, config: GrpoConfig) -> NDArray[np.float64]:
    return advantages(rewards_of(group, config.overlong), config.advantages)
