"""The gate that a worker's calls go through: permits from a lease, no message of a call's own."""

import asyncio
import contextlib
import math
import time
from collections import deque
from contextvars import ContextVar
from typing import Any, NamedTuple

from ray.exceptions import RayActorError

from actors.pool.limiter.actor import limiter_actor
from actors.pool.limiter.messages import Ended, Limits
from actors.pool.limiter.turnstile import Sent, Turnstile

__all__ = ["Ended", "Gate", "GateState", "Limits"]

_IDLE_S = 0.5  # without calls, until the lease is given back
_REVIVAL_S = 0.1  # a name may lead to a dead actor for a moment
_GAP_S = 0.025  # between reports at least, but for a 429

# Between acquire and release; each task has its own.
_sent: ContextVar[Sent] = ContextVar("sent")


class GateState(NamedTuple):
    """How it stands."""

    limit: int  # calls in flight on the whole cluster, now
    in_flight: int  # here
    waiting: int  # here
    paused_s: float


class Gate:
    """One per worker and limiter, on the worker's event loop."""

    def __init__(self, name: str, job: str, worker: str, limits: Limits) -> None:
        self._name = name
        self._turnstile = Turnstile(job, worker, limits)
        self._queue: deque[tuple[asyncio.Future[Sent], int]] = deque()
        self._waiting = 0  # of the queue, those not cancelled
        self._timer: asyncio.Handle | None = None
        self._pump_at_s = 0.0  # the loop's clock; uvloop's handles do not always tell
        self._reporter: asyncio.Task[None] | None = None
        self._report_now = asyncio.Event()
        self._reported_s = -math.inf
        self._idle = False
        self._actor: Any = None

    @property
    def state(self) -> GateState:
        """Limit, calls in flight and waiting, and how long nothing may be sent."""
        turnstile = self._turnstile
        paused_s = turnstile.paused_s(time.monotonic())
        return GateState(turnstile.limit, turnstile.in_flight, self._waiting, paused_s)

    async def acquire(self, tokens: int) -> None:
        """Wait for a permit; `tokens` is about what the call will use."""
        if self._reporter is None:
            self._reporter = asyncio.create_task(self._report_on())
            self._reporter.add_done_callback(self._no_more_reports)
        elif self._idle:
            self._report_now.set()
        if not self._waiting:
            now_s = time.monotonic()
            wait_s = self._turnstile.wait_s(tokens, now_s)
            if wait_s <= 0:
                _sent.set(self._turnstile.send(tokens, now_s))
                return
            if wait_s == math.inf and now_s > self._reported_s + _GAP_S:
                self._report_now.set()  # there may be more permits to have
        _sent.set(await self._turn(tokens))

    def release(self, ended: Ended) -> None:
        """The call is over. Exactly once per acquire that returned, in the same task."""
        self._turnstile.end(_sent.get(), ended, time.monotonic())
        if ended.outcome == "rate_limited":
            self._report_now.set()
        self._pump()

    async def close(self) -> None:
        """Give the lease back; no calls may be waiting."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reporter is None:
            return
        self._reporter.cancel()
        await asyncio.wait([self._reporter])
        self._reporter = None
        if self._actor is not None:
            report = self._turnstile.report(0, time.monotonic(), leaving=True)
            with contextlib.suppress(RayActorError):  # then there is nothing to give back to
                await self._actor.report.remote(report)

    async def _turn(self, tokens: int) -> Sent:
        future: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self._queue.append((future, tokens))
        self._waiting += 1
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._waiting -= 1
            else:
                self._turnstile.take_back(future.result(), time.monotonic())
            self._pump()
            raise

    def _pump(self) -> None:
        """Let go who may; come back when the next may."""
        queue, now_s = self._queue, time.monotonic()
        while queue:
            future, tokens = queue[0]
            if not future.cancelled():
                wait_s = self._turnstile.wait_s(tokens, now_s)
                if wait_s > 0:
                    self._pump_in(wait_s)
                    return
                self._waiting -= 1
                future.set_result(self._turnstile.send(tokens, now_s))
            queue.popleft()

    def _pump_in(self, wait_s: float) -> None:
        if wait_s == math.inf:
            return  # a lease or a release will pump
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if self._timer is not None:
            if now_s < self._pump_at_s <= now_s + wait_s:
                return
            self._timer.cancel()
        self._timer, self._pump_at_s = loop.call_later(wait_s, self._pump), now_s + wait_s

    async def _report_on(self) -> None:
        """Report while there is something to report, then give the lease back."""
        while True:
            report_in_s = await self._report()
            self._pump()
            if not self._turnstile.met_429:
                await self._until_news(report_in_s)
            if self._busy:
                continue
            self._idle = True
            await self._until_news(_IDLE_S)
            self._idle = False
            if not self._busy:
                await self._report(leaving=True)
                if not self._busy:
                    self._reporter = None
                    return

    def _no_more_reports(self, reporter: asyncio.Task[None]) -> None:
        """Without Ray there are no permits: whoever waits is told, instead of waiting for ever."""
        error = None if reporter.cancelled() else reporter.exception()
        if error is None:
            return
        waiting, self._queue, self._waiting = self._queue, deque(), 0
        for future, _ in waiting:
            if not future.done():
                future.set_exception(error)
        self._reporter = None

    @property
    def _busy(self) -> bool:
        return bool(self._turnstile.in_flight or self._waiting or self._turnstile.has_news)

    async def _until_news(self, longest_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._report_now.wait()

    async def _report(self, leaving: bool = False) -> float:
        """Report, to a new limiter if the old one is gone; seconds until the next report."""
        while True:
            self._report_now.clear()
            self._reported_s = time.monotonic()
            report = self._turnstile.report(self._waiting, self._reported_s, leaving)
            try:
                if self._actor is None:
                    self._actor = await asyncio.to_thread(limiter_actor, self._name)
                lease = await self._actor.report.remote(report)
            except RayActorError:
                self._actor = None
                self._turnstile.unsaid(report)
                await asyncio.sleep(_REVIVAL_S)
                continue
            if not leaving:
                self._turnstile.take(lease, time.monotonic())
            return lease.report_in_s
