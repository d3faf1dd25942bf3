"""The embedded endpoint as any OpenAI client sees it, and its own books."""

import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest
from pool_endpoint import Endpoint
from pydantic import BaseModel

from actors.pool.endpoint.process import endpoint_process

TEXT = "Property: honest\nType: scenarios\nNumber: 3"


class Subtypes(BaseModel):
    """What the endpoint's rules know to answer."""

    subtypes: list[str]


def post(url: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of a POST of raw bytes."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, method="POST")) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def chat_body(**fields: Any) -> bytes:
    messages = [{"role": "user", "content": TEXT}]
    return json.dumps({"model": "any", "messages": messages, **fields}).encode()


def test_the_stock_client_gets_an_answer(endpoint: Endpoint):
    endpoint.faults(cost_usd=0.003)
    with openai.OpenAI(base_url=endpoint.url, api_key="none", max_retries=0) as client:
        made = client.chat.completions.create(
            model="writer", messages=[{"role": "user", "content": "Hello"}], n=2, seed=3
        )
        parsed = client.chat.completions.parse(
            model="writer", messages=[{"role": "user", "content": TEXT}], response_format=Subtypes
        )
        assert [model.id for model in client.models.list()] == ["rules"]
    assert made.model == "writer"
    assert len(made.choices) == 2
    assert all(choice.message.content for choice in made.choices)
    assert made.usage is not None
    assert made.usage.completion_tokens > 0
    assert made.usage.model_dump()["cost"] == 0.003
    assert isinstance(parsed.choices[0].message.parsed, Subtypes)


def test_the_stock_client_sees_which_field_is_wrong(endpoint: Endpoint):
    with (
        openai.OpenAI(base_url=endpoint.url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as raised,
    ):
        client.chat.completions.create(model="m", messages=[])
    assert raised.value.param == "messages"
    assert raised.value.type == "invalid_request_error"


def test_the_same_request_gets_the_same_bytes_from_any_endpoint(endpoint: Endpoint):
    body = chat_body(seed=11)
    here = post(f"{endpoint.url}/chat/completions", body)
    again = post(f"{endpoint.url}/chat/completions", body)
    with endpoint_process() as url:
        elsewhere = post(f"{url}/chat/completions", body)
    assert here == again == elsewhere
    assert here[0] == 200


def test_the_books(endpoint: Endpoint):
    endpoint.faults(first=["none", "rate_limited", "wrapped_500"], cost_usd=0.5)
    url = f"{endpoint.url}/chat/completions"
    for body in (chat_body(seed=1), chat_body(seed=1), chat_body(seed=2), b"{", chat_body(seed=1)):
        post(url, body)
    assert endpoint.counts() == {
        "asked": 5,
        "answered": 5,
        "distinct": 3,
        "billed": {"calls": 2, "cost_usd": 1.0},
        "by_status": {"200": 3, "429": 1, "400": 1},
    }
    with urllib.request.urlopen(f"{endpoint.url}/key") as response:
        assert json.load(response)["data"]["usage"] == 1.0
    endpoint.faults()
    assert endpoint.counts()["asked"] == 0


def test_switches_that_do_not_exist_are_refused(endpoint: Endpoint):
    admin = endpoint.url.removesuffix("/v1") + "/admin/faults"
    status, said = post(admin, b'{"latency": 3}')
    assert status == 400
    assert "latency" in said["error"]["message"]
