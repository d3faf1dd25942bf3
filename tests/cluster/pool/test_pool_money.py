"""Budgets as hard caps, by the endpoint's own books, with many calls in flight."""

import asyncio

import pytest
from pool_endpoint import QUICK, Endpoint, config, plain

from actors.pool.books.at import BooksAt
from actors.pool.client import ChatPool
from actors.pool.requests import ChatRequest, Completion, Outcome
from configs.errors import BudgetReached

PRICE_USD = 0.01


def ask(endpoint: Endpoint, requests: list[ChatRequest], books: BooksAt) -> list[Outcome]:
    """What was answered before the budget was reached; all of it where it was not."""
    outcomes: list[Outcome] = []

    async def run() -> None:
        async with ChatPool(
            endpoint.provider, config(max_concurrency=200), books, policy=QUICK
        ) as pool:
            async for outcome in pool.complete(requests):
                outcomes.append(outcome)

    with pytest.raises(BudgetReached, match="budget"):
        asyncio.run(run())
    return outcomes


def test_a_cap_with_200_calls_in_flight_is_kept_and_the_run_goes_on(endpoint: Endpoint):
    endpoint.faults(latency_s=0.3, cost_usd=PRICE_USD)
    requests = plain(500)
    capped = endpoint.books(run_id="capped", budget_usd=3.0)
    outcomes = ask(endpoint, requests, capped)
    billed_usd = endpoint.counts()["billed"]["cost_usd"]
    assert billed_usd <= 3.0 + 1e-9
    assert billed_usd >= 2.9
    assert len(outcomes) == endpoint.counts()["billed"]["calls"]

    more = endpoint.books(run_id="capped", budget_usd=4.0)
    ask(endpoint, requests, more)
    assert 3.9 <= endpoint.counts()["billed"]["cost_usd"] <= 4.0 + 1e-9
    assert endpoint.counts()["asked"] == endpoint.counts()["distinct"]


def test_two_runs_share_the_budget_of_their_study(endpoint: Endpoint, tmp_path_factory):
    endpoint.faults(latency_s=0.1, cost_usd=PRICE_USD)
    study = {"storage": str(tmp_path_factory.mktemp("poor")), "study_budget_usd": 1.0}
    ask(endpoint, plain(150), endpoint.books(**study))
    ask(endpoint, plain(150), endpoint.books(**study))
    assert endpoint.counts()["billed"]["cost_usd"] <= 1.0 + 1e-9


def test_what_was_spent_is_told_to_the_last_cent(endpoint: Endpoint):
    endpoint.faults(cost_usd=PRICE_USD)

    async def run() -> float:
        async with endpoint.pool() as pool:
            async for _ in pool.complete(plain(60)):
                pass
            return (await pool.spent()).run_usd

    assert asyncio.run(run()) == pytest.approx(60 * PRICE_USD)


def test_two_drivers_on_one_cache_ask_once(endpoint: Endpoint):
    endpoint.faults(latency_s=0.05)
    requests = plain(60)

    async def drive() -> list[Outcome]:
        async with endpoint.pool() as pool:
            return [outcome async for outcome in pool.complete(requests)]

    async def both() -> tuple[list[Outcome], list[Outcome]]:
        return await asyncio.gather(drive(), drive())

    for outcomes in asyncio.run(both()):
        assert {outcome.key for outcome in outcomes} == {request.key for request in requests}
        assert all(isinstance(outcome, Completion) for outcome in outcomes)
    assert endpoint.counts()["asked"] == 60
