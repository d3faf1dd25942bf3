"""Odd requests: their answers say what was odd, and count nothing that was not asked."""

import json
from typing import Any

import pytest
from fake_server import ONE_DIGEST, FakeClient
from fastapi.testclient import TestClient

from actors.lm.refusals import RefusedAdapter
from serve.app import build_app
from serve.openai.keys import Keys, keys_from
from serve.paths import RefusedPath

LOAD, CHAT = "/v1/load_lora_adapter", "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
BODY = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}


def _client(fake: FakeClient | None = None, keys: Keys | None = None) -> TestClient:
    return TestClient(build_app(fake or FakeClient(), keys or Keys(), 10**6))


def _error(reply: Any, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    return reply.json()["error"]


@pytest.mark.parametrize(
    ("error", "param"), [(RefusedPath("x"), "lora_path"), (RefusedAdapter("x"), "lora_name")]
)
def test_a_refused_load_names_the_field(error: Exception, param: str) -> None:
    body = {"lora_name": "two", "lora_path": "x"}
    told = _error(_client(FakeClient(fails=error)).post(LOAD, json=body), 400)
    assert (told["param"], told["code"]) == (param, "adapter_refused")


@pytest.mark.parametrize("body", ["[" * 200_000, '{"n": ' + "9" * 5000 + "}"])
def test_json_that_python_does_not_read(body: str) -> None:
    told = _error(_client().post(CHAT, content=body, headers=JSON), 400)
    assert "nested too deeply, or a number too long" in told["message"]
    assert told["param"] == "body"


def test_a_token_id_of_many_digits() -> None:
    body = json.dumps(BODY | {"logit_bias": {"9" * 5000: 1}})
    told = _error(_client().post(CHAT, content=body, headers=JSON), 400)
    assert told["message"] == 'Field "logit_bias": a key is not a token id.'


def test_an_unknown_model_has_no_tokenizer() -> None:
    for model, status in (("one", 200), ("small/base", 200), ("two", 404)):
        reply = _client().post("/tokenize", json={"model": model, "prompt": "x"})
        assert reply.status_code == status


def test_a_404_lists_20_names() -> None:
    fake = FakeClient(adapters={f"a{i}@1": ONE_DIGEST for i in range(1021)})
    told = _error(_client(fake).post(CHAT, json=BODY), 404)
    assert told["message"].endswith("a18@1, a19@1 and 1,001 more.")


def test_a_scrape_does_not_count_itself() -> None:
    assert "hothouse_requests_open 0.0" in _client().get("/metrics").text


def test_a_key_beyond_ascii() -> None:
    client = _client(keys=keys_from({"HOTHOUSE_API_KEYS": "schlüssel"}, on_loopback=True))
    for key, status in (("schlüssel", 200), ("schlussel", 401)):
        headers = {b"Authorization": f"Bearer {key}".encode()}
        assert client.get("/v1/models", headers=headers).status_code == status
