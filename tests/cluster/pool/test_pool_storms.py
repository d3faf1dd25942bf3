"""Bad weather through a whole pool: every call is answered in the end, and no limiter freezes."""

import asyncio
import urllib.request
from typing import Any

import pytest
import ray
from pool_endpoint import QUICK, Endpoint, config, plain

from actors.pool.client import ChatPool
from actors.pool.requests import Completion, Failure, Outcome
from configs.errors import JobFailed


def through(endpoint: Endpoint, calls: int, **fields: Any) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with endpoint.pool(max_attempts=30, max_concurrency=32, **fields) as pool:
            return [outcome async for outcome in pool.complete(plain(calls))]

    return asyncio.run(run())


@pytest.mark.parametrize("retry_after_s", [None, 0.1])
def test_a_storm_of_429s_is_weathered(endpoint: Endpoint, retry_after_s: float | None):
    endpoint.faults(share={"rate_limited": 0.3}, retry_after_s=retry_after_s)
    outcomes = through(endpoint, 40)
    assert [type(outcome) for outcome in outcomes] == [Completion] * 40
    assert endpoint.counts()["by_status"]["429"] > 0


def test_a_limit_that_nobody_told_is_kept(endpoint: Endpoint):
    endpoint.faults(requests_per_s=40, latency_s=0.05)
    outcomes = through(endpoint, 160)
    assert [type(outcome) for outcome in outcomes] == [Completion] * 160
    # Without a limiter, 32 calls in flight would be refused hundreds of times.
    assert endpoint.counts()["by_status"].get("429", 0) < 80


def test_a_burst_of_5xx_is_no_reason_to_go_slow(endpoint: Endpoint):
    endpoint.faults(first=["server_error", "stall", "reset"] * 6)
    outcomes = through(endpoint, 40, timeout_s=1)
    assert [type(outcome) for outcome in outcomes] == [Completion] * 40


def test_the_first_failure_stops_all_where_that_is_asked_for(endpoint: Endpoint):
    endpoint.faults(first=["none", "none", "not_found"], latency_s=0.02)
    outcomes: list[Outcome] = []

    async def run() -> None:
        pool = ChatPool(
            endpoint.provider,
            config(max_concurrency=1),
            endpoint.books(),
            on_error="stop",
            policy=QUICK,
        )
        async with pool:
            async for outcome in pool.complete(plain(40)):
                outcomes.append(outcome)

    with pytest.raises(JobFailed, match="on_error=stop"):
        asyncio.run(run())
    assert [type(outcome) for outcome in outcomes[:3]] == [Completion, Completion, Failure]
    assert endpoint.counts()["asked"] < 40


def test_the_pools_figures_are_on_rays_metrics_endpoint(endpoint: Endpoint):
    endpoint.faults(cost_usd=0.01)
    [node] = ray.nodes()
    url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"

    async def run() -> str:
        shown = ""
        async with endpoint.pool() as pool:
            async for _ in pool.complete(plain(4)):
                pass
            wanted = ("calls_total", "latency_seconds", "tokens_total", "cost_usd_total", "_limit")
            for _ in range(120):  # an actor reports its figures every few seconds
                with urllib.request.urlopen(url) as reply:
                    shown = reply.read().decode()
                if all(f"ray_hothouse_pool_{name.lstrip('_')}" in shown for name in wanted):
                    return shown
                await asyncio.sleep(0.25)
        raise AssertionError([line for line in shown.splitlines() if "hothouse" in line])

    assert 'outcome="answered"' in asyncio.run(run())
