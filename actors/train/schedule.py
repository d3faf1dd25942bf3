"""When a run does what: pure functions of the step.

Steps count from 0, numbers of finished steps from 1. Nothing here has a state, so a run that
continues at any step does what the uninterrupted run would have done there.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """Which rows each step trains on, and after which steps a run is saved and measured."""

    rows: int
    epochs: int
    batch_size: int
    seed: int
    save_every: int = 0  # steps; 0 is the ends of the epochs only
    validate_every: int = 0  # steps; 0 is the ends of the epochs

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch may be smaller; no row is left out."""
        return -(-self.rows // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.epochs

    def batch(self, step: int) -> list[int]:
        """Rows of the step's batch: every epoch has an order of its own."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_size
        return _epoch_order(self.rows, self.seed, epoch)[start : start + self.batch_size]

    def save_points(self) -> list[int]:
        """Numbers of finished steps at which a checkpoint is kept, the last one included."""
        points = set(range(self.steps_per_epoch, self.total_steps + 1, self.steps_per_epoch))
        if self.save_every:
            points |= set(range(self.save_every, self.total_steps, self.save_every))
        return sorted(points)

    def validation_points(self) -> list[int]:
        """Numbers of finished steps at which held-out rows are measured, the last one included."""
        every = self.validate_every or self.steps_per_epoch
        return sorted({*range(every, self.total_steps, every), self.total_steps})

    def version(self, done: int) -> int:
        """Of a checkpoint after `done` steps: it counts the save points, so it survives a kill.

        A run that stops early keeps a checkpoint between two save points; none comes after it.
        """
        return bisect_left(self.save_points(), done) + 1


@lru_cache(maxsize=2)
def _epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    return np.random.default_rng([seed, epoch]).permutation(rows).tolist()
