"""What a pool has done so far, for a progress display and for the books."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Counted since the pool was opened; read them at any time."""

    done: int = 0  # completions
    failed: int = 0
    in_flight: int = 0  # calls that were begun, also while they wait for another attempt
    retries: int = 0
    rate_limited: int = 0
    cost_usd: float = 0.0  # every attempt, also those whose answer was of no use
