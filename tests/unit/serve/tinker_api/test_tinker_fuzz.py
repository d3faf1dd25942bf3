"""Requests that no SDK sends: a 4xx, or an outcome that says what is wrong; no 500, no hang."""

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
import tinker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from tinker.proto import tinker_public_pb2 as proto
from tinker_front import KEY, Opened, bare_app

from serve.tinker_api import wire
from serve.tinker_api.futures import PROTOBUF

API = "/api/v1"
BYTES = {"Content-Type": PROTOBUF}


schema = schemathesis.openapi.from_dict(bare_app().openapi())


@pytest.fixture(scope="module")
def ids(opened: Opened) -> Iterator[dict[str, str]]:
    """Names that are there: a session, a training client, a sampler."""
    service = tinker.ServiceClient(base_url=opened.url, api_key=KEY)
    client = service.create_lora_training_client(opened.base, rank=1).result()
    sampler = service.create_sampling_client(base_model=opened.base).result()
    yield {
        "session_id": service.holder.get_session_id(),
        "model_id": client.model_id,
        "sampling_session_id": sampler._sampling_session_id,
        "base_model": opened.base,
    }
    service.close("success").result()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client


@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_reply_is_a_server_error(case: schemathesis.Case, opened: Opened, ids: Any) -> None:
    if case.path.endswith("retrieve_future"):
        return  # waits by design; the outcomes are looked at below
    if isinstance(case.body, dict):
        draw = random.Random(repr(sorted(case.body.items(), key=repr)))
        for field, name in ids.items():
            if field in case.body and draw.random() < 0.75:
                case.body[field] = name
        if "seq_id" in case.body:
            case.body["seq_id"] = 10**9 + draw.randrange(10**9)  # its turn never comes
        if case.path.endswith(("create_model", "finish")):
            case.body["session_id"] = "nobody's"
    case.call_and_validate(checks=[not_a_server_error], base_url=opened.url, timeout=30)


@given(st.binary(max_size=200))
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_bytes_that_are_no_pass(opened: Opened, client: httpx2.Client, body: bytes) -> None:
    reply = client.post(f"{opened.url}{API}/forward_backward", content=body, headers=BYTES)
    assert 400 <= reply.status_code < 500


@given(st.data())
@settings(max_examples=200)
def test_a_pass_that_is_damaged_is_told_or_read(data: st.DataObject) -> None:
    """Bytes of a whole request, some of them changed: ValueError, or datums that can be used."""
    message = proto.ForwardBackwardRequest(model_id="m", seq_id=1, loss_fn="cross_entropy")
    row = message.data.add()
    row.model_input.add().encoded_text.tokens = bytes([1, 0, 0, 0, 2, 0, 0, 0])
    row.loss_fn_inputs["target_tokens"].dense = bytes([2, *[0] * 7, 3, *[0] * 7])
    row.loss_fn_inputs["target_tokens"].dtype = proto.DTYPE_INT64
    body = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = wire.parse_pass(bytes(body))
        wire.loss_of(parsed)
        [datum] = wire.datums(parsed, vocabulary=262)
    except ValueError:
        return
    assert len(datum.token_ids) == len(datum.target_ids)
    assert max(*datum.token_ids, *datum.target_ids) < 262


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "create_session", b"{", 400),
        ("POST", "create_session", b"[]", 400),
        ("POST", "optim_step", {"model_id": "x", "seq_id": 1}, 400),
        ("POST", "optim_step", {"model_id": "x", "seq_id": 1, "adam_params": {}}, 404),
        ("POST", "retrieve_future", {"request_id": "x:1"}, 404),
        ("POST", "session_heartbeat", {"session_id": "x"}, 404),
        ("POST", "weights_info", {"tinker_path": "/etc/passwd"}, 404),
        ("POST", "weights_info", {"tinker_path": "tinker://a/weights/../../b"}, 404),
        ("POST", "create_custom_loss", {}, 404),
        ("DELETE", "training_runs/x/checkpoints/weights/y", None, 404),
        ("GET", "training_runs/..%2F..%2Fetc/checkpoints", None, 404),
        ("GET", "training_runs?limit=x", None, 400),
        ("GET", "download/x/weights/y/z?until=1&signature=0", None, 404),
        ("POST", "forward_backward", {"model_id": "x"}, 415),
    ],
)
def test_refusals(opened: Opened, method: str, path: str, body: Any, status: int) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
    headers = {} if content is None else {"Content-Type": "application/json"}
    reply = httpx2.request(method, f"{opened.url}{API}/{path}", content=content, headers=headers)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["message"]
