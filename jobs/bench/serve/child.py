"""A side's process: load, say ready, then measure one line of work after another."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

from jobs.bench.machine import tree_cpu_s
from jobs.bench.serve.work import Measured, Row, Start, Work
from jobs.bench.side import READY

# Gives the tokens of the rows, in their order.
Sampling = Callable[[Work], Awaitable[list[list[int]]]]


def started() -> Start:
    """What this process was told to load."""
    return Start.model_validate_json(sys.argv[1])


async def serve(sample: Sampling) -> None:
    """Measure the work that comes in, until there is no more."""
    print(READY, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        work = Work.model_validate_json(line)
        cpu_s, started_s = tree_cpu_s(os.getpid()), time.perf_counter()
        sampled = await sample(work)
        wall_s, cpu_s = time.perf_counter() - started_s, tree_cpu_s(os.getpid()) - cpu_s
        measured = Measured(cpu_s=cpu_s, wall_s=wall_s, sampled=sampled)
        print(measured.model_dump_json(), flush=True)


async def by_callers(
    work: Work, sample: Callable[[list[Row]], Awaitable[list[list[int]]]]
) -> list[list[int]]:
    """The rows' tokens from a `sample` that takes as many rows at once as the work says."""
    if work.callers is None:
        return await sample(work.rows)
    sampled: list[list[int]] = [[] for _ in work.rows]
    left = iter(enumerate(work.rows))

    async def call() -> None:
        for number, row in left:
            [sampled[number]] = await sample([row])

    await asyncio.gather(*(call() for _ in range(work.callers)))
    return sampled
