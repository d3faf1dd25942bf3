"""Learning rates: the share of the peak at each step, a pure function of it.

In the warm-up the rate rises by equal parts, the first step included. With p the share of the
steps after the warm-up that are done, it then is

    linear     1 - p
    cosine     (1 + cos(pi p)) / 2        (Loshchilov and Hutter 2017, eq. 5, one period to 0)
    constant   1

so that the first of them has the peak and none has a rate of 0.
"""

import math
from collections.abc import Callable
from typing import Literal

ScheduleName = Literal["linear", "cosine", "constant"]

_AFTER_WARMUP: dict[ScheduleName, Callable[[float], float]] = {
    "linear": lambda p: 1 - p,
    "cosine": lambda p: (1 + math.cos(math.pi * p)) / 2,
    "constant": lambda p: 1.0,
}


def rate_share(name: ScheduleName, step: int, total_steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0) of `total_steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return _AFTER_WARMUP[name]((step - warmup_steps) / (total_steps - warmup_steps))


def warmup_length(warmup_steps: int, warmup_share: float | None, total_steps: int) -> int:
    """Steps of the warm-up: the share of all steps where one is given, else as many as given."""
    return warmup_steps if warmup_share is None else round(warmup_share * total_steps)
