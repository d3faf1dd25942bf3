"""Actors of the pool killed with -9 while calls are in flight: nothing is lost or paid twice."""

import asyncio
import os
import signal

import psutil
import pytest
from pool_endpoint import Endpoint, plain

from actors.pool.requests import ChatRequest, Completion, Outcome
from configs.errors import JobFailed

IN_FLIGHT = 8


def kill(actor: str) -> None:
    """End every process of an actor class of this session's Ray."""
    found = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith(f"ray::{actor}")
    ]
    assert found, f"no {actor} is running"
    for process in found:
        os.kill(process.pid, signal.SIGKILL)


def completed_around_a_kill(
    endpoint: Endpoint, requests: list[ChatRequest], actor: str
) -> list[Outcome]:
    async def run() -> list[Outcome]:
        outcomes = []
        async with endpoint.pool(max_concurrency=IN_FLIGHT, max_workers=2) as pool:
            async for outcome in pool.complete(requests):
                outcomes.append(outcome)
                if len(outcomes) == 12:
                    kill(actor)
        return outcomes

    return asyncio.run(run())


@pytest.mark.parametrize("actor", ["Worker", "LimiterActor", "BooksActor"])
def test_a_killed_actor_costs_at_most_the_calls_in_flight(endpoint: Endpoint, actor: str):
    endpoint.faults(latency_s=0.1)
    requests = plain(80)
    outcomes = completed_around_a_kill(endpoint, requests, actor)
    assert [type(outcome) for outcome in outcomes] == [Completion] * 80
    assert {outcome.key for outcome in outcomes} == {request.key for request in requests}
    lost = IN_FLIGHT if actor == "Worker" else 0  # their answers went to a process that is gone
    assert endpoint.counts()["asked"] <= 80 + lost


def test_a_worker_that_never_lives_ends_the_stream(endpoint: Endpoint):
    endpoint.faults(share={"stall": 1.0})

    async def run() -> None:
        async with endpoint.pool(max_concurrency=IN_FLIGHT) as pool:

            async def keep_killing() -> None:
                while True:
                    await asyncio.sleep(0.1)
                    if pool.num_workers:
                        kill("Worker")

            killing = asyncio.create_task(keep_killing())
            try:
                async for _ in pool.complete(plain(4)):
                    pass
            finally:
                killing.cancel()

    with pytest.raises(JobFailed, match="workers in a row died"):
        asyncio.run(run())
