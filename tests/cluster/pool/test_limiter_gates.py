"""Gates on a real Ray: jobs share, a killed limiter is replaced, a dead worker's permits return."""

import asyncio
import json
import os
import signal
import time
import uuid
from typing import Any, Literal

import aiohttp
import pytest
import ray
from pool_endpoint import Endpoint

from actors.pool.limiter.actor import limiter_actor
from actors.pool.limiter.gate import Ended, Gate, Limits
from actors.pool.limiter.name import limiter_name, model_of

BODY = json.dumps({"model": "rules", "messages": [{"role": "user", "content": "Hello?"}]})


def new_name() -> str:
    """A limiter that no other test has met."""
    return limiter_name("http://test", uuid.uuid4().hex, "lab/model")


def gate(name: str, job: str, most: int = 20, worker: str = "1") -> Gate:
    return Gate(name, job, worker, Limits(most, None, None))


class Traffic:
    """Calls through gates, until so many are answered."""

    def __init__(self, url: str, gates: list[Gate], calls: int) -> None:
        self._url, self._gates, self._calls = f"{url}/chat/completions", gates, calls
        self.answered = [0] * len(gates)
        self.in_flight = self.most_in_flight = 0

    async def run(self, at_once: int = 60) -> None:
        """`at_once` callers a gate."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            callers = [
                self._caller(session, which)
                for which in range(len(self._gates))
                for _ in range(at_once)
            ]
            await asyncio.gather(*callers)

    async def _caller(self, session: aiohttp.ClientSession, which: int) -> None:
        gate = self._gates[which]
        while sum(self.answered) < self._calls:
            permit = await gate.acquire(0)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            async with session.post(self._url, data=BODY) as response:
                await response.read()
            self.in_flight -= 1
            if response.status == 200:
                self.answered[which] += 1
                gate.release(permit, Ended("ok"))
            else:
                wait_s = response.headers.get("retry-after")
                gate.release(permit, Ended("rate_limited", 0, float(wait_s) if wait_s else None))


async def closed(*gates: Gate) -> None:
    for each in gates:
        await each.close()


def test_two_jobs_share_a_limited_endpoint(endpoint: Endpoint):
    endpoint.faults(latency_s=0.1, requests_per_s=100)
    name = new_name()

    async def run() -> list[int]:
        gates = [gate(name, "first", 256), gate(name, "second", 256)]
        traffic = Traffic(endpoint.url, gates, 400)
        await traffic.run()
        await closed(*gates)
        return traffic.answered

    answered = asyncio.run(run())
    counts = endpoint.counts()["by_status"]
    assert min(answered) >= 0.35 * sum(answered)
    assert 0 < counts["429"] <= 0.1 * counts["200"]


def kill(actor: Any) -> None:
    ray.kill(actor)


def kill_9(actor: Any) -> None:
    os.kill(pid(actor), signal.SIGKILL)


def pid(actor: Any) -> int:
    return ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))


@pytest.mark.parametrize("end", [kill, kill_9])
def test_calls_outlive_their_limiter_within_its_limit(endpoint: Endpoint, end: Any):
    endpoint.faults(latency_s=0.05)
    name = new_name()

    async def run() -> Traffic:
        gates = [gate(name, "job", worker=worker) for worker in ("1", "2")]
        traffic = Traffic(endpoint.url, gates, 1500)
        running = asyncio.create_task(traffic.run())
        while sum(traffic.answered) < 200:
            await asyncio.sleep(0.01)
        old = await asyncio.to_thread(limiter_actor, name)
        old_pid = await asyncio.to_thread(pid, old)
        await asyncio.to_thread(end, old)
        await running
        assert await asyncio.to_thread(pid, limiter_actor(name)) != old_pid
        await closed(*gates)
        return traffic

    traffic = asyncio.run(run())
    assert sum(traffic.answered) >= 1500
    assert min(traffic.answered) > 0
    assert traffic.most_in_flight <= 20


def test_calls_outlive_the_job_that_made_their_limiter(endpoint: Endpoint):
    class Maker:
        """Another job, as far as the limiter can tell: it ends with its maker."""

        def __init__(self) -> None:
            self.limiter: Any = limiter_actor(name)

        def pid_of_limiter(self) -> int:
            return ray.get(self.limiter.__ray_call__.remote(lambda _: os.getpid()))

    endpoint.faults(latency_s=0.05)
    name = new_name()
    maker: Any = ray.remote(num_cpus=0)(Maker).remote()
    old_pid = ray.get(maker.pid_of_limiter.remote())

    async def run() -> Traffic:
        gates = [gate(name, "job", worker=worker) for worker in ("1", "2")]
        traffic = Traffic(endpoint.url, gates, 800)
        running = asyncio.create_task(traffic.run())
        while sum(traffic.answered) < 200:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(kill_9, maker)
        await running
        assert await asyncio.to_thread(pid, limiter_actor(name)) != old_pid
        await closed(*gates)
        return traffic

    traffic = asyncio.run(run())
    assert sum(traffic.answered) >= 800
    assert traffic.most_in_flight <= 20


def test_a_dead_worker_s_permits_come_back(ray_cluster: None):
    class Hoarder:
        """A worker that takes permits and never gives them back."""

        async def take(self, count: int) -> None:
            self._gate = Gate(name, "job", "hoarder", Limits(count, None, None))
            for _ in range(count):
                await self._gate.acquire(0)

    name = new_name()
    limiter = limiter_actor(name)  # ours, so that it does not die with the worker
    hoarder: Any = ray.remote(num_cpus=0)(Hoarder).remote()
    ray.get(hoarder.take.remote(8))

    async def run() -> None:
        mine = gate(name, "job", 8)
        asked = asyncio.create_task(mine.acquire(0))
        await asyncio.sleep(0.5)
        assert not asked.done()
        ray.kill(hoarder)
        mine.release(await asked, Ended("ok"))
        await mine.close()

    asyncio.run(run())
    assert pid(limiter) > 0


@pytest.mark.parametrize("outcome", ["rate_limited", "server"])
def test_retry_after_stops_every_gate(
    ray_cluster: None, outcome: Literal["rate_limited", "server"]
):
    name = new_name()

    async def run() -> float:
        gates = [gate(name, "first"), gate(name, "second")]
        permits = [await each.acquire(0) for each in gates]

        async def again(each: Gate) -> float:
            each.release(await each.acquire(0), Ended("ok"))
            return time.monotonic()

        told_s = time.monotonic()
        gates[0].release(permits[0], Ended(outcome, 0, 2.0))
        await asyncio.sleep(0.5)
        back_s = await asyncio.gather(*map(again, gates))
        gates[1].release(permits[1], Ended("ok"))
        await closed(*gates)
        return min(back_s) - told_s

    assert asyncio.run(run()) >= 1.9


def test_permits_nobody_wants_any_more_go_to_who_waits(ray_cluster: None):
    name = new_name()

    async def run() -> None:
        first, second = (gate(name, "job", 1, worker) for worker in ("1", "2"))
        permit = await first.acquire(0)
        given_up = asyncio.create_task(first.acquire(0))
        waiting = asyncio.create_task(second.acquire(0))
        await asyncio.sleep(0.3)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert not waiting.done()
        first.release(permit, Ended("ok"))
        await first.close()
        second.release(await waiting, Ended("ok"))
        await second.close()

    asyncio.run(run())


def test_the_endpoint_turns_away_at_once_what_is_over_its_rate(endpoint: Endpoint):
    endpoint.faults(latency_s=0.2, requests_per_s=3, retry_after_s=1.5)

    async def run() -> list[tuple[int, str | None]]:
        async with aiohttp.ClientSession() as session:

            async def ask() -> tuple[int, str | None]:
                async with session.post(f"{endpoint.url}/chat/completions", data=BODY) as response:
                    return response.status, response.headers.get("retry-after")

            tasks = [asyncio.create_task(ask()) for _ in range(5)]
            return [await each for each in asyncio.as_completed(tasks)]

    # In the order they end: an answer takes its time, a refusal does not.
    assert asyncio.run(run()) == [(429, "1.5")] * 2 + [(200, None)] * 3
    assert endpoint.counts()["by_status"] == {"429": 2, "200": 3}


def test_a_name_tells_its_model_and_hides_its_account():
    name = limiter_name("https://openrouter.ai/api/v1", "digest", "openai/gpt:free")
    assert model_of(name) == "openai/gpt:free"
    assert "digest" not in name
    assert name != limiter_name("https://openrouter.ai/api/v1", "other", "openai/gpt:free")
