"""Requests that the API's own schema allows, or nearly allows: answered or refused, never a 500.

Every reply must be as the schema says, in status, type and shape. The engine is a real one behind a
real socket, so a request that hung would meet its time limit.
"""

import asyncio
import random
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fake_server import FakeClient
from hypothesis import HealthCheck, settings
from local_server import LocalClient
from looped_engine import looped
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from actors.lm.adapter import Adapter
from configs.sections import ServerConfig
from serve.app import build_app
from serve.door import open_door
from serve.engines.torch import start_torch_engine
from serve.openai.keys import Keys

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
_NEEDED = {"model", "messages", "prompt", "max_tokens", "lora_name", "lora_path"}

schema = schemathesis.openapi.from_dict(build_app(FakeClient(), Keys(), 1).openapi())


@pytest.fixture(scope="module")
def url(base_directory: str, adapters: dict[str, Adapter]) -> Iterator[str]:
    """A running server."""
    config = ServerConfig(device="cpu", max_adapters=4)
    with looped(lambda: start_torch_engine(base_directory, config)) as engine:
        for name, adapter in adapters.items():
            asyncio.run(engine.load(name, adapter))
        app = build_app(LocalClient(engine, base_directory), Keys(), 10**6)
        with open_door(app, "127.0.0.1", 0) as port:
            yield f"http://127.0.0.1:{port}"


@schema.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_reply_is_as_the_schema_says(case: schemathesis.Case, url: str) -> None:
    if isinstance(case.body, dict):
        _bring_near(case.body)
    case.call_and_validate(checks=_CHECKS, base_url=url, timeout=30)


def _bring_near(body: dict[str, Any]) -> None:
    """Of four bodies three name a model that is there; most ask little, and in their own words.

    Which ones is drawn with the body as its seed: bodies change with the versions of the libraries
    that make them, the share of the answered does not.
    """
    draw = random.Random(repr(sorted(body.items())))
    if "model" in body and draw.random() < 0.75:
        body["model"] = draw.choice(["base", "one", "two@1"])
    for field, plain in (("messages", [{"role": "user", "content": "a"}]), ("prompt", "a")):
        if field in body and draw.random() < 0.5:
            body[field] = plain
    for field in sorted(set(body) - _NEEDED):
        if draw.random() < 0.75:
            del body[field]
    for field, most in (("n", 5), ("max_tokens", 9), ("max_completion_tokens", 9)):
        if type(body.get(field)) is int and body[field] > most:
            body[field] = most


def test_some_of_them_were_answered(url: str) -> None:
    text = urllib.request.urlopen(f"{url}/metrics", timeout=30).read().decode()
    answered = {
        sample.labels["route"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "hothouse_requests_total" and sample.labels["status"] == "200"
    }
    assert answered >= {"/v1/chat/completions", "/v1/completions", "/tokenize", "/v1/models"}
