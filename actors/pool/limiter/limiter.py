"""The limiter: reports in, leases out. Pure; the clock is the caller's."""

from typing import NamedTuple

from actors.pool.limiter.adaptive import Adaptive
from actors.pool.limiter.leases import TTL_S, Holder, Leases
from actors.pool.limiter.messages import Lease, Report

_REPORT_S = 0.1
_SOON_S = 0.025  # while opening, and while permits move from one to another
_LONGEST_REPORT_S = 1.0  # in a long pause
_RECOVERY_S = 0.5  # after which every gate with calls to make has reported


class Load(NamedTuple):
    """What the limiter shows of itself."""

    limit: int
    in_flight: int
    waiting: int
    paused_s: float


class Limiter:
    """One for all gates of an endpoint's account and model."""

    def __init__(self, now_s: float) -> None:
        self._adaptive, self._leases = Adaptive(now_s), Leases()
        self._recovered_s = now_s

    def report(self, report: Report, now_s: float) -> Lease:
        """Take in what a gate tells, and answer with its next lease."""
        adaptive = self._adaptive
        if report.learned.rank > adaptive.learned(now_s).rank:
            adaptive.recall(report.learned, now_s)
        if report.permits and not self._leases.knows(report):
            # An earlier limiter leased them. What it leased to others is not known yet.
            self._recovered_s = now_s + _RECOVERY_S
        holder = self._leases.hear(report, now_s)
        most = self._leases.most()
        current = report.rate_limited_now if report.learned.epoch == adaptive.epoch else 0
        adaptive.count(report.sent, report.rate_limited, report.rate_limited - current)
        if report.server:
            adaptive.server_error(now_s)
        usable = self._leases.usable()
        adaptive.advance(self._leases.in_flight, self._leases.waiting, usable, most, now_s)
        if current:
            adaptive.rate_limited(self._leases.in_flight, most, now_s)
        if report.retry_after_s:
            adaptive.pause(report.retry_after_s, now_s)
        if report.leaving:
            holder.permits, fair = 0, 0
            requests_per_s = tokens_per_s = None
        else:
            fair = self._permits(holder, report.permits, now_s)
            requests_per_s, tokens_per_s = self._rates(holder)
        learned = adaptive.learned(now_s)
        wants_more = holder.waiting and (learned.opening is not None or holder.permits < fair)
        shrank = holder.permits < holder.permits_before
        report_in_s = _SOON_S if wants_more or shrank else _REPORT_S
        return Lease(
            holder.permits,
            requests_per_s,
            tokens_per_s,
            TTL_S,
            max(report_in_s, min(learned.paused_s, _LONGEST_REPORT_S)),
            learned,
        )

    def load(self, now_s: float) -> Load:
        """How it stands."""
        limit = self._adaptive.in_flight(self._leases.most())
        paused_s = self._adaptive.learned(now_s).paused_s
        return Load(limit, self._leases.in_flight, self._leases.waiting, paused_s)

    def _permits(self, holder: Holder, held: int, now_s: float) -> int:
        """Sets the holder's permits; its fair share."""
        limit = self._adaptive.in_flight(self._leases.most())
        fair, holder.permits = self._leases.permits_for(holder, limit, turn=int(now_s))
        if now_s < self._recovered_s:
            holder.permits = min(holder.permits, held)
        return fair

    def _rates(self, holder: Holder) -> tuple[float | None, float | None]:
        """Sets the holder's rates: requests and tokens a second, None where unlimited."""
        leases = self._leases
        rates = (leases.strictest("requests_per_minute"), self._adaptive.per_s(leases.most()))
        requests_per_s = min((rate for rate in rates if rate is not None), default=None)
        tokens_per_s = leases.strictest("tokens_per_minute")
        if requests_per_s is not None:
            requests_per_s = leases.rate_for(
                holder, requests_per_s, "requests_per_s", "sends_per_s"
            )
        if tokens_per_s is not None:
            tokens_per_s = leases.rate_for(holder, tokens_per_s, "tokens_per_s", "spends_per_s")
        holder.requests_per_s, holder.tokens_per_s = requests_per_s or 0.0, tokens_per_s or 0.0
        return requests_per_s, tokens_per_s
