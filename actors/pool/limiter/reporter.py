"""A gate's talk with the limiter: reports while there is something to tell, leases in return."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayActorError

from actors.pool.limiter.actor import limiter_actor
from actors.pool.limiter.turnstile import Turnstile

_IDLE_S = 0.5  # without calls, until the lease is given back
_REVIVAL_S = 0.1  # a name may lead to a dead actor, or to none, for a moment
_GAP_S = 0.025  # between reports at least, but for urgent ones


class Reporter:
    """Reports what a turnstile counts to the limiter called `name`.

    `waiting` says how many calls wait, `take_turns` is called after every lease, and `fail` with
    what ended the talk if it did not end by itself.
    """

    def __init__(
        self,
        name: str,
        turnstile: Turnstile,
        waiting: Callable[[], int],
        take_turns: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._name, self._turnstile = name, turnstile
        self._waiting, self._take_turns, self._fail = waiting, take_turns, fail
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._reported_s = -math.inf
        self._idle = False
        self._actor: Any = None

    def wake(self) -> None:
        """Be at work: there is a call."""
        if self._task is None:
            self._task = asyncio.create_task(self._report_on())
            self._task.add_done_callback(self._ended)
        elif self._idle:
            self._news.set()

    def soon(self) -> None:
        """Report before it is time to: there may be more permits to have."""
        if time.monotonic() > self._reported_s + _GAP_S:
            self._news.set()

    def at_once(self) -> None:
        """Report now: all others have to know."""
        self._news.set()

    async def close(self) -> None:
        """Give the lease back."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        if self._actor is not None:
            report = self._turnstile.report(0, time.monotonic(), leaving=True)
            with contextlib.suppress(RayActorError):  # then there is nothing to give back to
                await self._actor.report.remote(report)

    async def _report_on(self) -> None:
        """Report while there is something to report, then give the lease back."""
        while True:
            report_in_s = await self._report()
            self._take_turns()
            if not self._turnstile.is_urgent:
                await self._until_news(report_in_s)
            if self._busy:
                continue
            self._idle = True
            await self._until_news(_IDLE_S)
            self._idle = False
            if not self._busy:
                await self._report(leaving=True)
                if not self._busy:
                    self._task = None
                    return

    @property
    def _busy(self) -> bool:
        return bool(self._turnstile.in_flight or self._waiting() or self._turnstile.has_news)

    async def _until_news(self, longest_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._news.wait()

    async def _report(self, leaving: bool = False) -> float:
        """Report, to a new limiter if the old one is gone; seconds until the next report."""
        while True:
            if self._actor is None:
                self._actor = await asyncio.to_thread(limiter_actor, self._name)
            if self._actor is not None:
                self._news.clear()
                self._reported_s = time.monotonic()
                report = self._turnstile.report(self._waiting(), self._reported_s, leaving)
                try:
                    lease = await self._actor.report.remote(report)
                except RayActorError:
                    self._actor = None
                    self._turnstile.unsaid(report)
                else:
                    if not leaving:
                        self._turnstile.take(lease, time.monotonic())
                    return lease.report_in_s
            await asyncio.sleep(_REVIVAL_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._task = None
            self._fail(error)
