"""How several files share an epoch."""

from collections.abc import Sequence

import numpy as np

_STREAM = 1  # of the seed: the order of the epochs draws from others


def rows_used(available: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Rows of each file in an epoch, in proportion to the weights.

    The file that is scarcest for its weight is used whole and sets the epoch's size; no row is
    used twice. Every file gives at least one row.
    """
    unit = min(rows / weight for rows, weight in zip(available, weights, strict=True))
    return [
        min(rows, max(1, round(unit * weight)))
        for rows, weight in zip(available, weights, strict=True)
    ]


def drawn(available: int, used: int, seed: int, file: int) -> list[int]:
    """Places of the rows of file number `file` that are used, in the file's order."""
    generator = np.random.default_rng([seed, _STREAM, file])
    return sorted(generator.permutation(available)[:used].tolist())
