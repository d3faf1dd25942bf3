"""Every fault of the endpoint against the real client, over real HTTP."""

import asyncio
import random
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from pool_endpoint import QUICK, Endpoint, complete, config, plain, unique

from actors.lm.messages import user
from actors.pool.calls.retry import RetryPolicy, Trouble
from actors.pool.client import ChatPool
from actors.pool.desk import Setup
from actors.pool.errors import ProviderRefused, ProviderUnreachable
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome
from jobs.properties.schemas import Subtypes

PASSING = {
    "rate_limited": "rate_limited",
    "server_error": "server",
    "reset": "connection",
    "error_object": "rate_limited",
    "wrapped_500": "server",
    "wrapped_504": "server",
    "empty_choices": "server",
    "empty_content": "server",
    "null_finish": "server",
    "error_finish": "server",
    "not_json": "server",
}


def structured(count: int) -> list[ChatRequest]:
    text = f"Property: honest\nType: scenarios\nNumber: 3\nSubject: {unique()}"
    return [ChatRequest(f"k{i}", [user(text)], schema=Subtypes, seed=i) for i in range(count)]


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_heals(endpoint: Endpoint, fault: str):
    endpoint.faults(first=[fault])
    [outcome] = endpoint.complete(plain(1))
    assert isinstance(outcome, Completion)
    assert (outcome.attempts, bool(outcome.text)) == (2, True)
    assert endpoint.counts()["asked"] == 2


@pytest.mark.parametrize(("fault", "kind"), PASSING.items())
def test_a_lasting_fault_is_a_failure(endpoint: Endpoint, fault: str, kind: str):
    endpoint.faults(share={fault: 1.0})
    [outcome] = endpoint.complete(plain(1), max_attempts=3)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.attempts, outcome.key) == (kind, 3, "k0")
    assert endpoint.counts()["asked"] == 3


def test_a_stalled_answer_is_asked_for_again(endpoint: Endpoint):
    endpoint.faults(first=["stall"])
    [outcome] = endpoint.complete(plain(1), timeout_s=0.5)
    assert isinstance(outcome, Completion)
    assert outcome.attempts == 2


def test_an_endpoint_that_stalls_for_good_is_a_failure(endpoint: Endpoint):
    endpoint.faults(share={"stall": 1.0})
    [outcome] = endpoint.complete(plain(1), timeout_s=0.2, max_attempts=2)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.attempts) == ("timeout", 2)


def test_the_header_says_how_long_to_wait(endpoint: Endpoint):
    told_s: list[float | None] = []

    class Impatient(RetryPolicy):
        def wait_s(self, attempt: int, trouble: Trouble, rng: random.Random) -> float:
            told_s.append(trouble.retry_after_s)
            return 0.0

    def run() -> None:
        setup = Setup(endpoint.provider, config(), endpoint.books(), {}, Impatient())
        complete(setup, plain(1))

    endpoint.faults(first=["rate_limited", "server_error"], retry_after_s=0.5)
    run()
    endpoint.faults(first=["rate_limited"])
    run()
    assert told_s == [0.5, 0.5, None]


def test_a_rejected_request_is_not_tried_again(endpoint: Endpoint):
    endpoint.faults(first=["not_found"])
    outcomes = endpoint.complete(plain(3), max_concurrency=1)
    assert [type(outcome) for outcome in outcomes] == [Failure, Completion, Completion]
    assert endpoint.counts()["asked"] == 3


@pytest.mark.parametrize(
    ("switch", "mode", "refusals"), [("no_schema", "json", 1), ("no_json_mode", "prompt", 2)]
)
def test_a_provider_without_schemas_gets_the_schema_in_the_prompt(
    endpoint: Endpoint, switch: str, mode: str, refusals: int, tmp_path: Path
):
    requests = structured(4)
    strict = {o.key: o for o in endpoint.complete(requests, max_concurrency=1)}
    # The second answer does not fit at first: the complaint goes with the schema too.
    endpoint.faults(**{switch: True}, first=["none"] * (refusals + 1) + ["violation"])
    prompted = endpoint.complete(requests, str(tmp_path), max_concurrency=1)
    for outcome in prompted:
        assert isinstance(outcome, Completion)
        known = strict[outcome.key]
        assert isinstance(known, Completion)
        assert outcome.value == known.value
        assert outcome.schema_mode == mode
    assert sum(getattr(outcome, "attempts", 0) for outcome in prompted) == 5 + refusals
    assert endpoint.counts()["by_status"] == {"400": refusals, "200": 5}


def test_text_that_is_no_unicode_fails_alone(endpoint: Endpoint):
    requests = [ChatRequest("broken", [user("half a pair: \ud83d")]), *plain(2)]
    outcomes = {outcome.key: outcome for outcome in endpoint.complete(requests)}
    broken = outcomes.pop("broken")
    assert isinstance(broken, Failure)
    assert (broken.kind, broken.attempts) == ("rejected", 1)
    assert [type(outcome) for outcome in outcomes.values()] == [Completion] * 2


@pytest.mark.parametrize("answer", ["refusal", "content_filter"])
def test_a_refusal_is_a_result(endpoint: Endpoint, answer: str):
    endpoint.faults(share={answer: 1.0})
    [outcome] = endpoint.complete(structured(1))
    assert isinstance(outcome, Completion)
    assert outcome.refusal
    assert outcome.value is None
    assert endpoint.counts()["asked"] == 1


@pytest.mark.parametrize("misfit", ["malformed", "truncated", "violation"])
def test_a_misfit_heals_on_the_second_ask(endpoint: Endpoint, misfit: str):
    endpoint.faults(share={misfit: 1.0}, cost_usd=0.5)
    [outcome] = endpoint.complete(structured(1))
    assert isinstance(outcome, Completion)
    assert isinstance(outcome.value, Subtypes)
    assert (outcome.attempts, outcome.cost_usd) == (2, 1.0)
    assert endpoint.counts()["billed"] == {"calls": 2, "cost_usd": 1.0}


@pytest.mark.parametrize("misfit", ["malformed", "truncated", "violation"])
def test_a_misfit_that_never_heals_is_billed_and_failed(endpoint: Endpoint, misfit: str):
    endpoint.faults(share={misfit: 1.0}, cost_usd=0.5, heal=False)
    [outcome] = endpoint.complete(structured(1), max_attempts=3)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.attempts, outcome.cost_usd) == ("invalid", 3, 1.5)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"out_of_credit_after": 5}, "Add credit"),
        ({"first": ["none"] * 5, "share": {"unauthorized": 1.0}}, "key"),
    ],
)
def test_a_refused_account_ends_the_stream_after_what_had_finished(
    endpoint: Endpoint, faults: dict[str, Any], words: str
):
    endpoint.faults(**faults)
    outcomes: list[Outcome] = []

    async def run() -> None:
        async with endpoint.pool(max_concurrency=3) as pool:
            async for outcome in pool.complete(plain(40)):
                outcomes.append(outcome)

    with pytest.raises(ProviderRefused, match=words):
        asyncio.run(run())
    assert [type(outcome) for outcome in outcomes] == [Completion] * 5
    assert endpoint.counts()["asked"] <= 5 + 3


def test_nothing_at_the_url_ends_the_stream(endpoint: Endpoint):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

    nobody = Provider(url, url, "none", "m", "note")

    async def run() -> None:
        async with ChatPool(nobody, config(max_attempts=2), endpoint.books(), policy=QUICK) as pool:
            async for _ in pool.complete(plain(4)):
                pass

    with pytest.raises(ProviderUnreachable, match=url):
        asyncio.run(run())


def test_a_connection_that_is_reset_before_an_answer_is_no_time_out(endpoint: Endpoint):
    # The client library reports these as time-outs; the two call for different measures.
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # a reset before that may still be one of connecting
        linger_not_at_all = struct.pack("ii", 1, 0)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not_at_all)
        writer.close()

    async def run() -> list[Outcome]:
        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        provider = Provider(url, url, "none", "m", "note")
        async with (
            server,
            ChatPool(provider, config(max_attempts=2), endpoint.books(), policy=QUICK) as pool,
        ):
            return [outcome async for outcome in pool.complete(plain(1))]

    [outcome] = asyncio.run(run())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.attempts) == ("connection", 2)


def test_a_day_of_every_fault_loses_and_doubles_nothing(endpoint: Endpoint):
    share = dict.fromkeys((*PASSING, "malformed", "truncated", "violation"), 0.03)
    share |= {"rate_limited": 0.005, "error_object": 0.005}  # each slows all calls down
    endpoint.faults(share=share, cost_usd=0.01)

    async def run() -> tuple[list[Outcome], Any]:
        async with endpoint.pool(max_attempts=20) as pool:
            requests = [*structured(100), *plain(100)]
            return [outcome async for outcome in pool.complete(requests)], pool.counts

    outcomes, counts = asyncio.run(run())
    assert [type(outcome) for outcome in outcomes] == [Completion] * 200
    assert sorted(o.key for o in outcomes) == sorted([f"k{i}" for i in range(100)] * 2)
    books = endpoint.counts()
    assert counts.done == 200
    assert counts.retries > 0
    assert books["asked"] == 200 + counts.retries
    assert books["billed"]["cost_usd"] == pytest.approx(counts.cost_usd)
    assert counts.cost_usd == pytest.approx(sum(outcome.cost_usd for outcome in outcomes))
