"""What gates and the limiter say to each other. Times are durations: clocks differ by machine."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from actors.pool.limiter.ceiling import Ceiling


@dataclass(frozen=True)
class Limits:
    """What one job may do at most, all of its workers together; None is no limit."""

    max_in_flight: int
    requests_per_minute: float | None
    tokens_per_minute: float | None


class Ended(NamedTuple):
    """How a call ended, as far as the limiter cares.

    ok            the first attempt was answered
    rate_limited  429, or an upstream's 429 inside a 200
    server        5xx, a time-out, a lost connection
    neutral       says nothing of load: a retry that worked, any other 4xx
    """

    outcome: Literal["ok", "rate_limited", "server", "neutral"]
    tokens: int = 0  # really used
    retry_after_s: float | None = None


class Learned(NamedTuple):
    """All that 429s have taught. It travels with every message, so it outlives the limiter."""

    epoch: int  # counts the cuts, from 1; 0 before a gate's first lease
    opening: float | None  # calls in flight while no 429 has come yet
    in_flight: Ceiling | None  # of calls in flight, after that
    per_s: Ceiling | None  # of calls begun a second, after that
    paused_s: float  # nothing may be sent for so long

    @property
    def rank(self) -> tuple[int, float]:
        """Who ranks higher knows more."""
        return self.epoch, self.opening or 0.0


NOTHING_LEARNED = Learned(0, None, None, None, 0.0)


class Report(NamedTuple):
    """What a gate tells. The counts are since its report before."""

    job: str
    worker: str
    limits: Limits
    in_flight: int
    waiting: int
    sent: int
    tokens: int
    rate_limited: int
    rate_limited_now: int  # those of them sent since the last cut that this gate knows of
    server: int
    retry_after_s: float  # the longest that any of these said, 0 for none
    permits: int  # of the lease it still holds
    learned: Learned  # of its last lease
    leaving: bool = False  # gives its lease back


class Lease(NamedTuple):
    """What a gate may do until `ttl_s` from now."""

    permits: int  # calls in flight
    requests_per_s: float | None
    tokens_per_s: float | None
    ttl_s: float
    report_in_s: float
    learned: Learned
