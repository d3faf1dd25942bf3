"""An endpoint, gates and the limiter on one fake clock: the real arithmetic, no waiting."""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.pool.limiter.buckets import TokenBucket
from actors.pool.limiter.limiter import Limiter
from actors.pool.limiter.messages import Ended, Limits, Report
from actors.pool.limiter.turnstile import Permit, Turnstile

MESSAGE_S = 0.002  # one way, gate to limiter


class Clock:
    """Events in their order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), event))

    def run(self, until_s: float = math.inf, done: Callable[[], bool] = lambda: False) -> None:
        while self._events and self._events[0][0] <= until_s and not done():
            self.now_s, _, event = heapq.heappop(self._events)
            event()


@dataclass
class Endpoint:
    """Answers after `latency_s`; 429 at once over a rate or a number of calls in flight.

    `down` it answers 429 only, `overloaded` 503 only; both say Retry-After if it has one.
    """

    clock: Clock
    latency_s: float
    per_s: float | None = None
    most_in_flight: float = math.inf
    retry_after_s: float | None = None
    refusal_s: float = 0.003  # until a 429 is back
    down: bool = False
    overloaded: bool = False
    admitted: int = 0
    rate_limited: int = 0
    turned_away: int = 0  # with 503
    in_flight: int = 0
    most_seen: int = 0
    bucket: TokenBucket | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.per_s is not None:
            burst = max(1.0, self.per_s)
            self.bucket = TokenBucket(self.per_s, burst, 0.0, burst)

    def ask(self, back: Callable[[Ended], None]) -> None:
        if self.overloaded:
            self.turned_away += 1
            ended = Ended("server", 0, self.retry_after_s)
            self.clock.after(self.refusal_s, lambda: back(ended))
            return
        clear = not self.down and self.in_flight < self.most_in_flight
        if clear and (self.bucket is None or self.bucket.take(1, self.clock.now_s)):
            self.admitted += 1
            self.in_flight += 1
            self.most_seen = max(self.most_seen, self.in_flight)

            def answer() -> None:
                self.in_flight -= 1
                back(Ended("ok"))

            self.clock.after(self.latency_s, answer)
        else:
            self.rate_limited += 1
            ended = Ended("rate_limited", 0, self.retry_after_s)
            self.clock.after(self.refusal_s, lambda: back(ended))


class SimulatedGate:
    """The gate's loop on the fake clock; a call that fails comes back after a jittered while."""

    def __init__(
        self, world: "World", job: str, worker: str, limits: Limits, calls: float, tokens: int = 0
    ) -> None:
        self.world, self.clock = world, world.clock
        self.turnstile = Turnstile(job, worker, limits)
        self.calls, self.tokens, self.answered = calls, tokens, 0
        self._wake_s = math.inf
        self._reporting = False
        self._next_report_s = math.inf
        self._rng = random.Random(f"{job}{worker}")
        self.report()

    def pump(self) -> None:
        now_s = self.clock.now_s
        while self.calls > 0:
            wait_s = self.turnstile.wait_s(self.tokens, now_s)
            if wait_s > 0:
                if wait_s < math.inf and now_s + wait_s < self._wake_s:
                    self._wake_s = now_s + wait_s
                    self.clock.after(wait_s, self._woken)
                return
            self.calls -= 1
            permit = self.turnstile.send(self.tokens, now_s)
            self.world.endpoint.ask(lambda ended, permit=permit: self._back(permit, ended))

    def _woken(self) -> None:
        if self._wake_s <= self.clock.now_s:
            self._wake_s = math.inf
        self.pump()

    def _back(self, permit: Permit, ended: Ended) -> None:
        self.turnstile.end(permit, ended._replace(tokens=self.tokens), self.clock.now_s)
        if ended.outcome == "ok":
            self.answered += 1
        else:
            self.clock.after(self._rng.uniform(0, 1.0), self._again)
            if self.turnstile.is_urgent:
                self.report()
        self.pump()

    def _again(self) -> None:
        self.calls += 1
        self.pump()

    def _timer(self) -> None:
        if self._next_report_s <= self.clock.now_s + 1e-12:
            self.report()

    def report(self) -> None:
        if self._reporting:
            return
        self._reporting = True
        waiting = min(self.calls, 1000)
        report = self.turnstile.report(int(waiting), self.clock.now_s)
        self.clock.after(MESSAGE_S, lambda: self._heard(report))

    def _heard(self, report: Report) -> None:
        lease = self.world.limiter.report(report, self.clock.now_s)

        def back() -> None:
            self._reporting = False
            self.turnstile.take(lease, self.clock.now_s)
            self.pump()
            if self.turnstile.is_urgent:
                self.report()
                return
            self._next_report_s = self.clock.now_s + lease.report_in_s
            self.clock.after(lease.report_in_s, self._timer)

        self.clock.after(MESSAGE_S, back)


class World:
    """One endpoint, one limiter, and gates as they come."""

    def __init__(self, **endpoint: object) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint(self.clock, **endpoint)  # pyrefly: ignore
        self.limiter = Limiter(0.0)
        self.gates: list[SimulatedGate] = []

    def job(
        self,
        name: str,
        workers: int = 1,
        most: int = 256,
        calls: float = math.inf,
        rpm: float | None = None,
        tpm: float | None = None,
        tokens: int = 0,
    ) -> list[SimulatedGate]:
        limits = Limits(most, rpm, tpm)
        new = [
            SimulatedGate(self, name, f"w{i}", limits, calls / workers, tokens)
            for i in range(workers)
        ]
        self.gates += new
        return new

    def run(self, until_s: float) -> "World":
        self.clock.run(until_s)
        return self

    @property
    def share_429(self) -> float:
        return self.endpoint.rate_limited / (self.endpoint.rate_limited + self.endpoint.admitted)


def answered(gates: list[SimulatedGate]) -> int:
    return sum(gate.answered for gate in gates)
