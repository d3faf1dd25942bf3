"""A client's side of the bench: warm up, say ready, wait for the word, measure, print JSON."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from jobs.bench.machine import rss_mb, tree_cpu_s
from jobs.bench.pool.load import Load, Measured, question, question_numbers, warm_question

READY = "ready"
_LOOK_EVERY_S = 0.1


class Tally:
    """Answers counted so far; they stand when time is up in the middle."""

    def __init__(self) -> None:
        self.answered = self.failed = 0


Ask = Callable[[Iterable[str], Tally], Awaitable[None]]


async def measure(load: Load, ask: Ask) -> None:
    """Have `ask` answer the load's questions, and print what that took."""
    await ask((warm_question(load, i) for i in range(load.work.warm_calls)), Tally())
    print(READY, flush=True)
    if not await asyncio.to_thread(sys.stdin.readline):
        return  # the bench is gone
    root = os.getpid() if load.root is None else load.root
    tally, highest = Tally(), _Highest(rss_mb())
    watch = asyncio.create_task(highest.watch())
    cpu_s, started_s = tree_cpu_s(root, load.without), time.perf_counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(load.work.seconds):
            await ask((question(load, i) for i in question_numbers(load.work)), tally)
    wall_s = time.perf_counter() - started_s
    cpu_s = tree_cpu_s(root, load.without) - cpu_s
    watch.cancel()
    measured = Measured(
        answered=tally.answered,
        failed=tally.failed,
        wall_s=wall_s,
        cpu_s=cpu_s,
        grown_mb=highest.grown_mb(),
    )
    print(measured.model_dump_json(), flush=True)


class _Highest:
    """The most that resident memory rose above where it began."""

    def __init__(self, began_mb: float) -> None:
        self._began_mb = self._highest_mb = began_mb

    async def watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(_LOOK_EVERY_S)

    def grown_mb(self) -> float:
        self._look()
        return self._highest_mb - self._began_mb

    def _look(self) -> None:
        self._highest_mb = max(self._highest_mb, rss_mb())
