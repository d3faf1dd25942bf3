"""Every error has OpenAI's shape: refused bodies, bad requests, and failures of our own."""

import json
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from ray.serve.handle import DeploymentHandle

from actors.lm.refusals import BadRequest
from serve.app import build_app

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
JSON = {"Content-Type": "application/json"}
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def client() -> TestClient:
    """The app without a server behind it: whatever reaches the handle breaks."""
    app = build_app(cast(DeploymentHandle, None))

    @app.get("/too-long{path:path}")
    async def too_long(path: str) -> None:
        raise BadRequest("the prompt is too long", "prompt")

    return TestClient(app, raise_server_exceptions=False)


def _error(client: TestClient, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    reply = client.post(path, content=json.dumps(body), headers=JSON)
    return reply.status_code, reply.json()["error"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", "\ud800"), ("stop", "\ud800"), ("user", "\ud800"), ("stop", ["x"] * 17)],
)
def test_a_refused_field_is_the_param(client: TestClient, field: str, value: Any) -> None:
    status, error = _error(client, CHAT, BODY | {field: value})
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", field)
    assert f'Field "{field}' in error["message"]
    assert "Value error" not in error["message"]


def test_a_field_whose_name_is_not_unicode(client: TestClient) -> None:
    status, error = _error(client, CHAT, BODY | {"\ud800": 1})
    assert (status, error["param"]) == (400, "body")


def test_bad_requests_name_the_field_that_the_client_sent(client: TestClient) -> None:
    assert client.get(f"/too-long{COMPLETIONS}").json()["error"]["param"] == "prompt"
    assert client.get(f"/too-long{CHAT}").json()["error"]["param"] == "messages"


def test_a_failure_of_our_own(client: TestClient) -> None:
    status, error = _error(client, CHAT, BODY)
    assert (status, error["type"]) == (500, "server_error")
    assert "AttributeError" in error["message"]
