"""A worker's side of its lease: may a call go now, and what is there to report? Pure."""

import math
from typing import NamedTuple

from actors.pool.limiter.buckets import TokenBucket
from actors.pool.limiter.messages import NOTHING_LEARNED, Ended, Lease, Limits, Report

_REQUEST_BURST_S = 0.03  # credit kept for a loop that was busy; more would not begin evenly spread
_TOKEN_BURST_S = 1.0
_HOLD_S = 0.5  # after a 429 here, until the limiter has answered


class Permit(NamedTuple):
    """For one call, from when it may go until it is over."""

    epoch: int  # of the lease it went under
    tokens: int  # charged when it went


class Turnstile:
    """Counts calls in and out under the last lease."""

    def __init__(self, job: str, worker: str, limits: Limits) -> None:
        self._job, self._worker, self._limits = job, worker, limits
        self._lease: Lease | None = None
        self._learned = NOTHING_LEARNED
        self._expires_s = self._resume_s = -math.inf
        self._requests: TokenBucket | None = None
        self._tokens: TokenBucket | None = None
        self.in_flight = 0
        self._clear()

    @property
    def has_news(self) -> bool:
        """Whether a call went or ended badly since the last report."""
        return bool(self._sent or self._rate_limited or self._server)

    @property
    def is_urgent(self) -> bool:
        """Whether there is news that holds all others back too: a 429, or a Retry-After."""
        return self._rate_limited > 0 or self._retry_after_s > 0

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Seconds until a call may go: 0 is now, infinity is not before something else happens."""
        if self._lease is None or now_s >= self._expires_s:
            return math.inf
        if self.in_flight >= self._lease.permits:
            return math.inf
        wait_s = max(0.0, self._resume_s - now_s)
        if self._requests is not None:
            wait_s = max(wait_s, self._requests.wait_s(1, now_s))
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.wait_s(tokens, now_s))
        return wait_s

    def send(self, tokens: int, now_s: float) -> Permit:
        """A call goes."""
        self.in_flight += 1
        self._sent += 1
        self._spent += tokens
        if self._requests is not None:
            self._requests.spend(1, now_s)
        if self._tokens is not None:
            self._tokens.spend(tokens, now_s)
        return Permit(self._learned.epoch, tokens)

    def end(self, permit: Permit, ended: Ended, now_s: float) -> None:
        """A call is over; tokens that were estimated too low are a debt."""
        self.in_flight -= 1
        if ended.outcome != "server":  # what it used is not known: the estimate stands
            self._spent += ended.tokens - permit.tokens
            if self._tokens is not None:
                self._tokens.spend(ended.tokens - permit.tokens, now_s)
        hold_s = ended.retry_after_s or 0.0
        self._retry_after_s = max(self._retry_after_s, hold_s)
        if ended.outcome == "server":
            self._server += 1
        elif ended.outcome == "rate_limited":
            self._rate_limited += 1
            self._rate_limited_now += permit.epoch == self._learned.epoch
            hold_s = max(hold_s, _HOLD_S)
        self._resume_s = max(self._resume_s, now_s + hold_s)

    def take_back(self, permit: Permit, now_s: float) -> None:
        """A call that had its permit is not sent after all."""
        self.in_flight -= 1
        self._sent -= 1
        self._spent -= permit.tokens
        if self._requests is not None:
            self._requests.spend(-1, now_s)
        if self._tokens is not None:
            self._tokens.spend(-permit.tokens, now_s)

    def report(self, waiting: int, now_s: float, leaving: bool = False) -> Report:
        """The report of now; the counts start again. Who leaves has no lease from here on."""
        if leaving:
            self._lease = None
        report = Report(
            self._job,
            self._worker,
            self._limits,
            self.in_flight,
            waiting,
            self._sent,
            self._spent,
            self._rate_limited,
            self._rate_limited_now,
            self._server,
            self._retry_after_s,
            self._lease.permits if self._lease and now_s < self._expires_s else 0,
            self._learned._replace(paused_s=max(0.0, self._resume_s - now_s)),
            leaving,
        )
        self._clear()
        return report

    def unsaid(self, report: Report) -> None:
        """A report did not arrive: its counts go into the next one."""
        self._sent += report.sent
        self._spent += report.tokens
        self._rate_limited += report.rate_limited
        self._rate_limited_now += report.rate_limited_now
        self._retry_after_s = max(self._retry_after_s, report.retry_after_s)
        self._server += report.server

    def take(self, lease: Lease, now_s: float) -> None:
        """A lease came."""
        # What came while it was under way is news to the limiter: the hold goes on.
        if not self.is_urgent:
            self._resume_s = now_s + lease.learned.paused_s
        if lease.learned.epoch != self._learned.epoch:
            self._rate_limited_now = 0
        self._lease, self._expires_s = lease, now_s + lease.ttl_s
        self._learned = lease.learned
        self._requests = _shaped(self._requests, lease.requests_per_s, _REQUEST_BURST_S, now_s)
        self._tokens = _shaped(self._tokens, lease.tokens_per_s, _TOKEN_BURST_S, now_s)

    def _clear(self) -> None:
        self._sent = self._spent = self._server = 0
        self._rate_limited = self._rate_limited_now = 0
        self._retry_after_s = 0.0


def _shaped(
    bucket: TokenBucket | None, rate_per_s: float | None, burst_s: float, now_s: float
) -> TokenBucket | None:
    if rate_per_s is None:
        return None
    burst = max(1.0, rate_per_s * burst_s)
    if bucket is None:
        return TokenBucket(rate_per_s, burst, now_s, level=1.0)
    bucket.reshape(rate_per_s, burst, now_s)
    return bucket
