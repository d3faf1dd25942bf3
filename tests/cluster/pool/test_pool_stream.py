"""The stream: order, back-pressure, streams that share a pool, and leaving early."""

import asyncio
import gc
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from pool_endpoint import Endpoint, plain, unique
from pydantic import field_validator
from ray import cloudpickle

from actors.lm.messages import user
from actors.pool.client import ChatPool
from actors.pool.requests import ChatRequest, Completion, Outcome
from jobs.properties.schemas import Subtypes


def run_quietly(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run `main`; the loop must be left without tasks and without complaints."""
    noise: list[dict[str, Any]] = []

    async def run() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
        try:
            return await main()
        finally:
            gc.collect()
            await asyncio.sleep(0.05)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        return asyncio.run(run())
    finally:
        gc.collect()
        assert noise == []


def endless() -> Iterator[ChatRequest]:
    salt = unique()
    return (ChatRequest(f"k{i}", [user(f"{salt}: question {i}?")]) for i in itertools.count())


def test_outcomes_come_in_the_order_they_finish(endpoint: Endpoint):
    endpoint.faults(first=["rate_limited"], retry_after_s=2)
    outcomes = endpoint.complete(plain(6), max_concurrency=3)
    assert [outcome.attempts for outcome in outcomes] == [1, 1, 1, 1, 1, 2]


def test_an_empty_stream_ends(endpoint: Endpoint):
    assert endpoint.complete([]) == []


def test_an_endless_producer_is_only_a_little_ahead(endpoint: Endpoint):
    pulled = 0

    def producer() -> Iterator[ChatRequest]:
        nonlocal pulled
        for request in endless():
            pulled += 1
            yield request

    async def main() -> None:
        consumed = 0
        async with endpoint.pool(max_concurrency=4) as pool:
            async for _ in pool.complete(producer()):
                consumed += 1
                await asyncio.sleep(0.01)
                assert pulled <= consumed + 4 + 8  # in flight, and waiting at the worker
                assert pool.counts.in_flight <= 4
                if consumed == 40:
                    break

    run_quietly(main)
    assert pulled >= 40
    assert endpoint.counts()["asked"] <= pulled


def test_streams_share_the_pools_concurrency(endpoint: Endpoint):
    endpoint.faults(latency_s=0.02)
    most = 0

    async def drain(pool: ChatPool) -> list[Outcome]:
        nonlocal most
        outcomes = []
        async for outcome in pool.complete(plain(20)):
            most = max(most, pool.counts.in_flight)
            outcomes.append(outcome)
        return outcomes

    async def main() -> None:
        async with endpoint.pool(max_concurrency=4) as pool:
            first, second = await asyncio.gather(drain(pool), drain(pool))
        assert {o.key for o in first} == {o.key for o in second} == {f"k{i}" for i in range(20)}

    run_quietly(main)
    assert 1 <= most <= 4


def test_a_stream_can_feed_another_of_the_same_pool(endpoint: Endpoint):
    async def follow_ups(outcomes: AsyncIterator[Outcome]) -> AsyncIterator[ChatRequest]:
        async for outcome in outcomes:
            assert isinstance(outcome, Completion)
            yield ChatRequest(f"again-{outcome.key}", [user(f"And: {outcome.text}?")])

    async def main() -> list[str]:
        async with endpoint.pool(max_concurrency=1) as pool:
            second = pool.complete(follow_ups(pool.complete(plain(5))))
            return [outcome.key async for outcome in second]

    assert sorted(run_quietly(main)) == [f"again-k{i}" for i in range(5)]


def test_breaking_off_cancels_what_is_in_flight(endpoint: Endpoint):
    endpoint.faults(first=["none"] * 3, share={"stall": 1.0})

    async def main() -> None:
        async with endpoint.pool() as pool:
            seen = 0
            async for _ in pool.complete(endless()):
                seen += 1
                if seen == 3:
                    break
        assert pool.counts.in_flight == 0

    run_quietly(main)


def test_breaking_off_closes_the_producer(endpoint: Endpoint):
    closed = False

    async def producer() -> AsyncIterator[ChatRequest]:
        nonlocal closed
        try:
            for request in endless():
                yield request
        finally:
            await asyncio.sleep(0.01)
            closed = True

    async def main() -> None:
        async with endpoint.pool() as pool:
            async for _ in pool.complete(producer()):
                break
        assert closed

    run_quietly(main)


def test_an_error_of_the_consumer_cancels_what_is_in_flight(endpoint: Endpoint):
    endpoint.faults(first=["none"], share={"stall": 1.0})

    async def main() -> None:
        async with endpoint.pool() as pool:
            async for _ in pool.complete(endless()):
                raise LookupError("the consumer's")

    with pytest.raises(LookupError, match="the consumer's"):
        run_quietly(main)


def test_cancelling_the_consumer_cancels_what_is_in_flight(endpoint: Endpoint):
    endpoint.faults(share={"stall": 1.0})

    async def consume(pool: ChatPool) -> None:
        async for _ in pool.complete(endless()):
            pass

    async def main() -> None:
        async with endpoint.pool() as pool:
            consumer = asyncio.create_task(consume(pool))
            while pool.counts.in_flight < 8:
                await asyncio.sleep(0.01)
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            assert pool.counts.in_flight == 0

    run_quietly(main)


def test_closing_the_pool_ends_a_stream_that_is_still_awaited(endpoint: Endpoint):
    endpoint.faults(share={"stall": 1.0})

    async def consume(pool: ChatPool) -> None:
        async for _ in pool.complete(endless()):
            pass

    async def main() -> None:
        async with endpoint.pool() as pool:
            consumer = asyncio.create_task(consume(pool))
            while pool.counts.in_flight < 8:
                await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="pool was closed"):
            await consumer

    run_quietly(main)


def test_an_error_of_the_producer_comes_after_what_was_asked_for(endpoint: Endpoint):
    endpoint.faults(latency_s=0.1)

    async def producer() -> AsyncIterator[ChatRequest]:
        for request in plain(3):
            yield request
        raise LookupError("the producer's")

    outcomes: list[Outcome] = []

    async def main() -> None:
        async with endpoint.pool() as pool:
            async for outcome in pool.complete(producer()):
                outcomes.append(outcome)

    with pytest.raises(LookupError, match="the producer's"):
        run_quietly(main)
    assert {outcome.key for outcome in outcomes} <= {"k0", "k1", "k2"}


class Odd(Exception):
    """Made in a way that no other process can repeat."""

    def __init__(self, *, word: str) -> None:
        super().__init__(word)


class Fussy(Subtypes):
    """A schema whose validator has a fault of its own."""

    @field_validator("subtypes")
    @classmethod
    def _never(cls, subtypes: list[str]) -> list[str]:
        raise Odd(word="the validator's")


def test_an_error_in_one_stream_leaves_the_others_and_the_pool_alone(endpoint: Endpoint):
    async def drain(pool: ChatPool, requests: list[ChatRequest]) -> int:
        return len([outcome async for outcome in pool.complete(requests)])

    async def main() -> None:
        async with endpoint.pool() as pool:
            fussy = [ChatRequest(unique(), [user(unique())], schema=Fussy)]
            ended = await asyncio.gather(
                drain(pool, fussy), drain(pool, plain(30)), return_exceptions=True
            )
            assert isinstance(ended[0], RuntimeError)
            assert "the validator's" in str(ended[0])
            assert ended[1] == 30
            assert await drain(pool, plain(3)) == 3

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers know no test modules
    try:
        run_quietly(main)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
