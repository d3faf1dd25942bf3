"""The routes around the models: names, adapters, tokens, health, metrics, and who may use them."""

import asyncio
from typing import Any

import pytest
from fake_server import ONE_DIGEST, FakeClient
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from serve.app import build_app
from serve.calls import Unavailable
from serve.openai.keys import Keys, keys_from

COMPLETIONS, LOAD, UNLOAD = "/v1/completions", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
PROMPT = {"model": "one", "prompt": "Hello"}
ADAPTER = {"lora_name": "two", "lora_path": "runs/x"}


def _client(fake: FakeClient | None = None, keys: Keys | None = None) -> TestClient:
    return TestClient(build_app(fake or FakeClient(), keys or Keys(), 10_000))


def test_models() -> None:
    client = _client()
    cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert list(cards) == ["base", "one@1", "one@2"]
    assert (cards["base"]["parent"], cards["one@1"]["parent"]) == (None, "base")
    assert cards["one@2"]["digest"] == ONE_DIGEST
    assert client.get("/v1/models/one").json() == cards["one@2"]
    assert client.get("/v1/models/small/base").json() == cards["base"]


def test_adapters_come_and_go_with_vllms_bodies() -> None:
    client = _client()
    reply = client.post(LOAD, json=ADAPTER)
    assert reply.status_code == 200
    assert reply.json() == {
        "message": "Success: LoRA adapter 'two' added successfully.",
        "model": "two@3",
        "digest": ONE_DIGEST,
        "probe": [-1.5, -2.0],
    }
    reply = client.post(UNLOAD, json={"lora_name": "one", "lora_int_id": 3})
    assert reply.json()["removed"] == ["one@1", "one@2"]
    reply = client.post(UNLOAD, json={"lora_name": "nobody"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (404, "lora_name")


def test_tokens_of_a_prompt() -> None:
    client = _client()
    assert client.post("/tokenize", json={"prompt": "Hi"}).json() == {
        "count": 3,
        "tokens": [256, 72, 105],
        "token_strs": None,
    }
    turns = {"messages": [{"role": "user", "content": "Hi"}], "model": "one"}
    assert client.post("/tokenize", json=turns).json()["tokens"] == [72, 105]


def test_health_needs_a_replica() -> None:
    assert _client().get("/health").json() == {"status": "ok"}
    reply = _client(FakeClient(fails=Unavailable("all are gone"))).get("/health")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")


def test_metrics() -> None:
    fake = FakeClient()
    client = _client(fake)
    for path in (COMPLETIONS, COMPLETIONS, "/v1/embeddings", "/made-up"):
        client.post(path, json=PROMPT)
    client.post(COMPLETIONS, json={})
    assert _samples(client)["hothouse_requests_total", COMPLETIONS, "200"] == 2
    told = _samples(client)
    assert told["hothouse_requests_total", COMPLETIONS, "400"] == 1
    assert told["hothouse_requests_total", "other", "404"] == 2
    assert told["hothouse_request_seconds_count", COMPLETIONS] == 3
    assert told["hothouse_rows_running", "replica-1"] == 2
    assert told["hothouse_generated_tokens_total", "replica-1"] == 600
    assert told["hothouse_adapters_resident", "replica-1"] == 1
    fake.fails = Unavailable("all are gone")
    assert _samples(client)[("hothouse_replicas",)] == 0


def _samples(client: TestClient) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


KEYS = keys_from(
    {"HOTHOUSE_API_KEYS": "user-1, user-2,", "HOTHOUSE_ADMIN_KEYS": "root"}, on_loopback=True
)


@pytest.mark.parametrize(
    ("header", "statuses"),
    [
        (None, (401, 401, 200)),
        ("Bearer wrong", (401, 401, 200)),
        ("Bearer ", (401, 401, 200)),
        ("Basic user-1", (401, 401, 200)),
        ("Bearer user-1", (200, 403, 200)),
        ("bearer  user-2", (200, 403, 200)),
        ("Bearer root", (200, 200, 200)),
    ],
)
def test_keys(header: str | None, statuses: tuple[int, int, int]) -> None:
    headers = {"Authorization": header} if header is not None else {}
    client = _client(keys=KEYS)
    replies = (
        client.post(COMPLETIONS, json=PROMPT, headers=headers),
        client.post(LOAD, json=ADAPTER, headers=headers),
        client.get("/health", headers=headers),
    )
    assert tuple(reply.status_code for reply in replies) == statuses
    for path in ("/v1/models", "/metrics", "/openapi.json", "/made-up"):
        reply = client.get(path, headers=headers)
        assert (reply.status_code == 401) == (statuses[0] == 401)
    if statuses[0] == 401:
        assert replies[0].headers["www-authenticate"] == "Bearer"
        assert replies[0].json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("environment", "on_loopback", "header", "status"),
    [
        ({}, True, "", 200),
        ({}, False, "", 403),
        ({"HOTHOUSE_API_KEYS": "user"}, True, "Bearer user", 403),
        ({"HOTHOUSE_ADMIN_KEYS": "root"}, False, "Bearer root", 200),
        ({"HOTHOUSE_ADMIN_KEYS": "root"}, True, "", 401),
    ],
)
def test_who_may_load(
    environment: dict[str, str], on_loopback: bool, header: str, status: int
) -> None:
    client = _client(keys=keys_from(environment, on_loopback=on_loopback))
    for path in (LOAD, LOAD + "%0A"):  # a path that a route may still match
        reply = client.post(path, json=ADAPTER, headers={"Authorization": header})
        assert reply.status_code in (status, 404)
    if status == 403:
        assert "loopback" in reply.json()["error"]["message"]


def test_keys_are_held_as_digests() -> None:
    assert b"root" not in b"".join((*KEYS.users, *KEYS.admins))
    assert "root" not in repr(KEYS)


@pytest.mark.parametrize("body", [PROMPT, PROMPT | {"stream": True}])
def test_a_request_that_is_cancelled_cancels_its_call(body: dict[str, Any]) -> None:
    import httpx2

    async def main() -> int:
        fake = FakeClient(hangs=True)
        transport = httpx2.ASGITransport(app=build_app(fake, Keys(), 10_000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            asked = asyncio.create_task(client.post(COMPLETIONS, json=body))
            while not fake.calls:
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
        return fake.cancelled

    assert asyncio.run(main()) == 1
