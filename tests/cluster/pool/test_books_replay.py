"""Answers of one storage root, exported, replayed on another; prices and credit over real HTTP."""

import asyncio
import json
import urllib.request
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pool_endpoint import QUICK, Endpoint, complete, config, plain
from pydantic import BaseModel, field_validator

from actors.lm.messages import user
from actors.pool.books.at import BooksAt
from actors.pool.books.client import Books, Mine, NotRecorded, Stored
from actors.pool.books.export import export_calls
from actors.pool.books.journal import open_books
from actors.pool.books.key import call_key
from actors.pool.books.prices import Prices, fetch_prices
from actors.pool.books.store import Row
from actors.pool.calls.body import request_body
from actors.pool.calls.stored import to_bytes
from actors.pool.desk import Setup
from actors.pool.provider import Provider, open_provider
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome
from configs.sections import PoolConfig


def key_of(text: str, provider: Provider) -> str:
    return call_key(provider.name, request_body(ChatRequest("k", [user(text)]), provider), 0)


def books_at(storage: Path, provider: Provider, owner: str) -> Books:
    at = BooksAt(str(storage), "run", owner, None, None, provider.replay_only)
    return Books(at, owner, provider)


class Natural(BaseModel):
    """What no JSON schema shows: the number is not negative."""

    number: int

    @field_validator("number")
    @classmethod
    def check(cls, number: int) -> int:
        if number < 0:
            raise ValueError(f"{number} is negative")
        return number


def recall(provider: Provider, root: str, requests: list[ChatRequest]) -> list[Outcome]:
    """What a replay gives."""
    books = BooksAt(root, "replay", "replay", None, None, replay_only=True)
    return complete(Setup(provider, config(), books, {}, QUICK), requests)


def by_key(outcomes: Iterable[Outcome]) -> dict[str, tuple]:
    """What an asker sees of outcomes, whoever paid."""
    return {
        o.key: (o.kind, o.message, o.attempts) if isinstance(o, Failure) else (o.text, o.attempts)
        for o in outcomes
    }


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_answered_here_is_replayed_elsewhere(tmp_path: Path):
    original = Provider("openrouter", "http://unused.invalid", "secret", "m/x", "openrouter")
    study, file, copy = tmp_path / "study", tmp_path / "calls.jsonl.gz", tmp_path / "copy"

    async def answer() -> None:
        books = books_at(study, original, "first")
        key = key_of("Hello?", original)
        assert await books.open(key, 0.0) == Mine()
        request = json.dumps(request_body(ChatRequest("k", [user("Hello?")]), original))
        books.close(key, b'{"text":"Hi."}', 0.0, 0.0, request.encode())
        await books.aclose()

    async def replay(provider: Provider) -> None:
        books = books_at(copy, provider, "second")
        assert await books.open(key_of("Hello?", provider), 0.0) == Stored(b'{"text":"Hi."}')
        assert await books.open(key_of("Who else?", provider), 0.0) == NotRecorded()
        await books.aclose()

    asyncio.run(answer())
    store, _ = open_books(str(study))
    assert export_calls(store, str(file)) == (1, 0, ["openrouter"])
    store.close()
    assert b"secret" not in file.read_bytes()
    with open_provider(f"replay:{file}", str(copy)) as provider:
        asyncio.run(replay(provider))
        assert asyncio.run(fetch_prices(provider, PoolConfig()))["m/x"] == Prices()


def test_a_call_that_failed_for_good_fails_again_in_a_replay(endpoint: Endpoint, tmp_path: Path):
    endpoint.faults(refuse_logprobs=True)
    study, file, copy = tmp_path / "study", tmp_path / "calls.jsonl.gz", str(tmp_path / "copy")
    requests = [*plain(2), replace(plain(1)[0], key="refused", top_logprobs=5)]
    live = {o.key: o for o in endpoint.complete(requests, storage=str(study))}
    assert isinstance(live["refused"], Failure)
    store, _ = open_books(str(study))
    assert export_calls(store, str(file)) == (2, 1, ["offline"])
    store.close()
    with open_provider(f"replay:{file}", copy) as provider:
        assert by_key(recall(provider, copy, requests)) == by_key(live.values())
    endpoint.faults()  # a live run asks again, and only for what failed
    outcomes = endpoint.complete(requests, storage=str(study))
    assert all(isinstance(outcome, Completion) for outcome in outcomes)
    assert endpoint.counts()["asked"] == 1


def test_an_answer_that_no_longer_fits_is_asked_for_again(endpoint: Endpoint, tmp_path: Path):
    root, request = str(tmp_path), replace(plain(1)[0], schema=Natural)
    (first,) = endpoint.complete([request], storage=root)
    assert isinstance(first, Completion)
    key = call_key("offline", request_body(request, endpoint.provider), 0)
    misfit = to_bytes(replace(first, text='{"number": -3}', value=None))
    store, _ = open_books(root)
    with store.writing():
        store.drop(key)
        store.put(Row(key, "offline", "rules", None, misfit, 0.0))
    with open_provider("replay", root) as provider:
        (failure,) = recall(provider, root, [request])
    assert isinstance(failure, Failure)
    assert failure.kind == "invalid"
    assert "is negative" in failure.message
    (second,) = endpoint.complete([request], storage=root)
    assert isinstance(second, Completion)
    assert (second.cached, second.value) == (False, first.value)
    assert store.answers([key]) != {key: misfit}
    store.close()
    assert endpoint.counts()["asked"] == 2


def test_prices_come_from_the_endpoint_else_from_the_user(endpoint: Endpoint):
    endpoint.faults(cost_usd=0.003)
    given = PoolConfig(prompt_usd_per_million=2.0, completion_usd_per_million=8.0)
    table = asyncio.run(fetch_prices(endpoint.provider, given))
    assert table["rules"] == Prices(0.0, 0.0, 0.003, 4096)
    assert table["another"] == Prices(2e-6, 8e-6)
    nowhere = Provider("nowhere", "http://127.0.0.1:9/v1", "none", None, "")
    assert asyncio.run(fetch_prices(nowhere, PoolConfig())).get("rules") is None
    assert asyncio.run(fetch_prices(nowhere, given))["rules"] == Prices(2e-6, 8e-6)


def test_the_key_says_what_credit_is_left(endpoint: Endpoint):
    def key() -> dict:
        with urllib.request.urlopen(f"{endpoint.url}/key") as response:
            return json.load(response)["data"]

    assert key()["limit"] is None
    endpoint.faults(credit_usd=0.005, cost_usd=0.003)
    asked = json.dumps({"model": "m", "messages": [user("Hi")]}).encode()
    left = []
    for _ in range(2):
        urllib.request.urlopen(f"{endpoint.url}/chat/completions", asked).close()
        left.append(key()["limit_remaining"])
    assert left == pytest.approx([0.002, 0.0])
    assert key()["usage"] == pytest.approx(0.006)
