"""Who holds what: the leases of all workers, and what is left of the limits for one of them.

A worker gets its fair share, but no more than what the others' leases leave, of the whole and of
what its own job may have: shares move from one to the other at their next reports, and what a dead
worker held comes back when its lease expires.
"""

import math
from collections import Counter
from dataclasses import dataclass

from actors.pool.limiter.messages import Limits, Report
from actors.pool.limiter.shares import in_whole, job_shares

TTL_S = 3.0
_MARGIN_S = 0.5  # a gate counts its lease from when it came, we from when it went
_SMOOTHING_S = 0.5
_ROOM = 1.25  # over what a worker uses of a rate that does not hold it back
_SPARE = 0.05  # of the whole rate, for a worker that uses none of it yet


@dataclass
class Holder:
    """A worker as of its last report, and its lease."""

    limits: Limits
    reported_s: float
    in_flight: int = 0
    waiting: int = 0
    sends_per_s: float = 0.0
    spends_per_s: float = 0.0  # tokens
    permits: int = 0
    permits_before: int = 0  # of the lease that its last report was sent under
    requests_per_s: float = 0.0
    tokens_per_s: float = 0.0
    expires_s: float = math.inf

    def hear(self, report: Report, now_s: float) -> None:
        """Take in a report."""
        elapsed_s = max(now_s - self.reported_s, 1e-3)
        weight = 1 - math.exp(-elapsed_s / _SMOOTHING_S)
        self.sends_per_s += weight * (report.sent / elapsed_s - self.sends_per_s)
        self.spends_per_s += weight * (report.tokens / elapsed_s - self.spends_per_s)
        self.limits, self.reported_s = report.limits, now_s
        self.in_flight, self.waiting = report.in_flight, report.waiting
        self.permits_before = report.permits

    @property
    def held(self) -> int:
        """Calls that may be in flight.

        A lease that shrank may have been used in full before its holder heard of the new one.
        """
        return max(self.permits, self.permits_before, self.in_flight)


class Leases:
    """All holders, by (job, worker)."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, str], Holder] = {}

    def knows(self, report: Report) -> bool:
        """Whether who reports has a lease from here."""
        return (report.job, report.worker) in self._holders

    def hear(self, report: Report, now_s: float) -> Holder:
        """Take in a report; the holder it is from."""
        for name in [name for name, each in self._holders.items() if each.expires_s <= now_s]:
            del self._holders[name]
        name = report.job, report.worker
        holder = self._holders.setdefault(name, Holder(report.limits, now_s))
        holder.hear(report, now_s)
        holder.expires_s = now_s + TTL_S + _MARGIN_S
        if report.leaving:
            del self._holders[name]
        return holder

    @property
    def in_flight(self) -> int:
        """Calls in flight, of all."""
        return sum(each.in_flight for each in self._holders.values())

    @property
    def waiting(self) -> int:
        """Calls that wait, of all."""
        return sum(each.waiting for each in self._holders.values())

    def most(self) -> int:
        """The jobs' own limits on calls in flight, all together."""
        return sum(self._caps().values()) or 1

    def usable(self) -> int:
        """What of that the jobs have calls for."""
        calls: Counter[str] = Counter()
        for (job, _), each in self._holders.items():
            calls[job] += each.in_flight + each.waiting
        return sum(min(calls[job], cap) for job, cap in self._caps().items())

    def strictest(self, per_minute: str) -> float | None:
        """The least that any job gives for a field of Limits, by the second."""
        given = [getattr(each.limits, per_minute) for each in self._holders.values()]
        return min((each / 60 for each in given if each is not None), default=None)

    def permits_for(self, holder: Holder, limit: int, turn: int) -> tuple[int, int]:
        """The holder's fair share of `limit`, and what of it others leave; `turn` breaks ties."""
        wants: dict[str, dict[str, float]] = {}
        for (job, worker), each in self._holders.items():
            wants.setdefault(job, {})[worker] = each.in_flight + each.waiting + 1
        caps = self._caps()
        shares = in_whole(limit, job_shares(limit, wants, caps), turn)
        name = job, _ = self._name(holder)
        others = [(whose, each) for whose, each in self._holders.items() if whose != name]
        left = limit - sum(each.held for _, each in others)
        left_to_job = caps[job] - sum(each.held for (whose, _), each in others if whose == job)
        return shares[name], max(0, min(shares[name], left, left_to_job))

    def rate_for(self, holder: Holder, total: float, held: str, used: str) -> float:
        """The holder's part of a rate; `held` and `used` name the fields of Holder.

        Who has no permit can use none.
        """
        wants: dict[str, dict[str, float]] = {}
        for (job, worker), each in self._holders.items():
            enough = _ROOM * getattr(each, used) + _SPARE * total
            want = math.inf if each.waiting else enough
            wants.setdefault(job, {})[worker] = want if each.permits else 0.0
        shares = job_shares(total, wants, dict.fromkeys(wants, math.inf))
        others = [each for each in self._holders.values() if each is not holder]
        left = total - sum(getattr(each, held) for each in others)
        return max(0.0, min(shares[self._name(holder)], left))

    def _name(self, holder: Holder) -> tuple[str, str]:
        return next(name for name, each in self._holders.items() if each is holder)

    def _caps(self) -> dict[str, int]:
        return {job: each.limits.max_in_flight for (job, _), each in self._holders.items()}
