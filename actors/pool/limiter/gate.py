"""The gate that a worker's calls go through: permits from a lease, no message of a call's own."""

import asyncio
import math
import time
from collections import deque

from actors.pool.limiter.messages import Ended, Limits
from actors.pool.limiter.reporter import Reporter
from actors.pool.limiter.turnstile import Permit, Turnstile

__all__ = ["Ended", "Gate", "Limits", "Permit"]


class Gate:
    """One per worker and limiter, on the worker's event loop."""

    def __init__(self, name: str, job: str, worker: str, limits: Limits) -> None:
        self._turnstile = Turnstile(job, worker, limits)
        self._queue: deque[tuple[asyncio.Future[Permit], int]] = deque()
        self._waiting = 0  # of the queue, those not cancelled
        self._timer: asyncio.Handle | None = None
        self._pump_at_s = 0.0  # the loop's clock; uvloop's handles do not always tell
        self._reporter = Reporter(
            name, self._turnstile, lambda: self._waiting, self._pump, self._turn_away
        )

    async def acquire(self, tokens: int) -> Permit:
        """Wait for a permit; `tokens` is about what the call will use."""
        self._reporter.wake()
        if not self._waiting:
            now_s = time.monotonic()
            wait_s = self._turnstile.wait_s(tokens, now_s)
            if wait_s <= 0:
                return self._turnstile.send(tokens, now_s)
            if wait_s == math.inf:
                self._reporter.soon()
        return await self._turn(tokens)

    def release(self, permit: Permit, ended: Ended) -> None:
        """The call is over. Exactly once per permit."""
        self._turnstile.end(permit, ended, time.monotonic())
        if self._turnstile.is_urgent:
            self._reporter.at_once()
        self._pump()

    async def close(self) -> None:
        """Give the lease back; no calls may be waiting."""
        if self._timer is not None:
            self._timer.cancel()
        await self._reporter.close()

    async def _turn(self, tokens: int) -> Permit:
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._queue.append((future, tokens))
        self._waiting += 1
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._waiting -= 1
            elif future.exception() is None:
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

    def _turn_away(self, error: BaseException) -> None:
        """Without Ray there are no permits: whoever waits is told, instead of waiting for ever."""
        waiting, self._queue = self._queue, deque()
        for future, _ in waiting:
            if not future.done():
                self._waiting -= 1
                future.set_exception(error)
