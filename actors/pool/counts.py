"""What a pool has done so far, for a progress display and for the books."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass


@dataclass(slots=True)
class Counts:
    """Counted since the pool was opened; read them at any time."""

    done: int = 0  # completions, those from what is stored among them
    cached: int = 0
    failed: int = 0
    in_flight: int = 0  # on the wire now
    retries: int = 0
    rate_limited: int = 0
    cost_usd: float = 0.0  # every attempt, also those whose answer was of no use


def summed(counts: Iterable[Counts]) -> Counts:
    """The counts of several workers together."""
    rows = [astuple(c) for c in counts]
    return Counts(*(sum(column) for column in zip(*rows, strict=True))) if rows else Counts()
