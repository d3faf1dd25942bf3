"""When a run does what: pure functions of the step.

Steps count from 0. Nothing here has a state, so a run that continues at any step does what the
uninterrupted run would have done there.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


def linear_rate(step: int, total_steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate: up in `warmup_steps`, then down to 0 at `total_steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return (total_steps - step) / (total_steps - warmup_steps)


@dataclass(frozen=True)
class Schedule:
    """Which rows each step trains on, and after which steps a checkpoint is kept."""

    rows: int
    epochs: int
    batch_size: int
    seed: int
    save_every: int = 0  # steps; 0 keeps the ends of the epochs only

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


@lru_cache(maxsize=2)
def _epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    return np.random.default_rng([seed, epoch]).permutation(rows).tolist()
