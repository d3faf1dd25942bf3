"""Which problems a step samples, and by which seeds: functions of what a checkpoint keeps.

`position` counts the problems drawn since the run began, those included that were drawn in place
of others. Nothing here has a state, so a run that continues draws what the uninterrupted run
would have drawn.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from actors.train.grpo.environment import Problem
from configs.base import digest

_SEED_DIGITS = 13  # hexadecimal: 52 bits are exact in every reader of JSON


def problem_at(problems: Sequence[Problem], seed: int, position: int) -> Problem:
    """The problem that is drawn at a position: every epoch has an order of its own."""
    epoch, place = divmod(position, len(problems))
    return problems[_epoch_order(len(problems), seed, epoch)[place]]


def seed_of(*determinants: int | str) -> int:
    """A seed that these determine; others give one that has nothing to do with it."""
    return int(digest(list(determinants))[:_SEED_DIGITS], 16)


@lru_cache(maxsize=4)  # batches that are begun ahead may stand in different epochs
def _epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    return np.random.default_rng([seed, epoch]).permutation(count).tolist()
