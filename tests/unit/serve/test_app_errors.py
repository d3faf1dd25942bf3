"""Every error has OpenAI's shape: refused bodies, unknown names, a full server, faults of ours."""

import json
from typing import Any

import pytest
from fake_server import FakeClient
from fastapi.testclient import TestClient

from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter
from serve.app import build_app
from serve.calls import Overloaded, Unavailable
from serve.openai.keys import Keys

CHAT, COMPLETIONS, LOAD = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/load_lora_adapter",
)
JSON = {"Content-Type": "application/json"}
BODY = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}
PROMPT = {"model": "one", "prompt": "Hello"}


def _client(fails: Exception | None = None) -> TestClient:
    app = build_app(FakeClient(fails=fails), Keys(), max_body_bytes=2000)
    return TestClient(app, raise_server_exceptions=False)


def _error(reply: Any, status: int, kind: str = "invalid_request_error") -> dict[str, str | None]:
    assert reply.status_code == status, reply.text
    assert reply.json().keys() == {"error"}
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == kind
    assert error["message"].endswith(".")
    return error


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", "\ud800"), ("stop", "\ud800"), ("user", "\ud800"), ("stop", ["x"] * 17)],
)
def test_a_refused_field_is_the_param(field: str, value: Any) -> None:
    reply = _client().post(CHAT, content=json.dumps(BODY | {field: value}), headers=JSON)
    error = _error(reply, 400)
    assert error["param"] == field
    assert f'Field "{field}' in str(error["message"])
    assert "Value error" not in str(error["message"])


def test_an_unsupported_field_is_named_where_it_is() -> None:
    error = _error(_client().post(CHAT, json=BODY | {"audio": {}}), 400)
    assert error["message"] == 'Field "audio" is not supported.'
    named = {"messages": [{"role": "user", "content": "Hello", "name": "Ada"}]}
    error = _error(_client().post(CHAT, json=BODY | named), 400)
    assert error["message"] == 'Field "messages.0.name" is not supported.'
    assert error["param"] == "messages"


def test_a_field_whose_name_is_not_unicode() -> None:
    reply = _client().post(CHAT, content=json.dumps(BODY | {"\ud800": 1}), headers=JSON)
    assert _error(reply, 400)["param"] == "body"


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '"x"', "{}", '{"model": NaN}', "\ufeff{}", "[" * 1500]
)
def test_bodies_that_are_no_requests(body: str) -> None:
    _error(_client().post(COMPLETIONS, content=body.encode(), headers=JSON), 400)


def test_bodies_that_are_not_json_text() -> None:
    _error(_client().post(COMPLETIONS, content=b'{"model": "\xff"}', headers=JSON), 400)
    assert _error(_client().post(COMPLETIONS, content=b"{}"), 415)["code"] == "not_json"
    text = {"Content-Type": "text/plain"}
    _error(_client().post(COMPLETIONS, content=b"{}", headers=text), 415)
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    reply = _client().post(COMPLETIONS, content=json.dumps(PROMPT).encode(), headers=charset)
    assert reply.status_code == 200


def test_bodies_that_are_too_large() -> None:
    long = json.dumps(PROMPT | {"prompt": "x" * 2000})
    error = _error(_client().post(COMPLETIONS, content=long.encode(), headers=JSON), 413)
    assert "2,000 bytes" in str(error["message"])

    def chunks() -> Any:  # of unannounced length
        yield from (long[i : i + 100].encode() for i in range(0, len(long), 100))

    _error(_client().post(COMPLETIONS, content=chunks(), headers=JSON), 413)
    small = json.dumps(PROMPT | {"prompt": "x" * 1900}).encode()
    assert _client().post(COMPLETIONS, content=small, headers=JSON).status_code == 200


def test_routes_that_are_not_there() -> None:
    _error(_client().post("/v1/embeddings", json={}), 404)
    _error(_client().get("/"), 404)
    reply = _client().get(CHAT)
    _error(reply, 405)
    assert reply.headers["allow"] == "POST"


def test_unknown_models() -> None:
    error = _error(_client().post(CHAT, json=BODY | {"model": "two"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "base, one@1, one@2" in str(error["message"])
    error = _error(_client().get("/v1/models/one@3"), 404)
    assert "one@2" in str(error["message"])


def test_bad_requests_name_the_field_that_the_client_sent() -> None:
    def param(path: str, body: dict[str, Any], field: str) -> str | None:
        return _error(_client(BadRequest("x", field)).post(path, json=body), 400)["param"]

    assert param(COMPLETIONS, PROMPT, "prompt") == "prompt"
    assert param(CHAT, BODY, "prompt") == "messages"
    assert param(COMPLETIONS, PROMPT, "prompt_logprobs") == "logprobs"
    assert param(CHAT, BODY, "top_logprobs") == "top_logprobs"
    assert param(CHAT, BODY, "json_schema") == "response_format"


def test_a_full_server_and_an_empty_one_say_when_to_come_again() -> None:
    reply = _client(Overloaded("4,096 requests wait", 2.4)).post(CHAT, json=BODY)
    _error(reply, 429, "rate_limit_error")
    assert reply.headers["retry-after"] == "2"
    reply = _client(Unavailable("no replica answers")).post(CHAT, json=BODY)
    _error(reply, 503, "server_error")
    assert int(reply.headers["retry-after"]) >= 1


def test_a_broken_adapter_is_not_asked_again() -> None:
    reply = _client(BrokenAdapter("one@2 gives numbers that are not finite")).post(CHAT, json=BODY)
    _error(reply, 500, "broken_adapter")
    assert reply.headers["x-should-retry"] == "false"


def test_a_refused_adapter_is_the_callers_fault() -> None:
    body = {"lora_name": "two", "lora_path": "elsewhere"}
    reply = _client(RefusedAdapter("it was trained on another base")).post(LOAD, json=body)
    assert _error(reply, 400)["code"] == "adapter_refused"


def test_a_failure_of_our_own() -> None:
    reply = _client(KeyError("x")).post(CHAT, json=BODY)
    error = _error(reply, 500, "server_error")
    assert reply.headers["connection"] == "close"
    assert "KeyError" in str(error["message"])
