"""Requests that no SDK sends: a 4xx, or an outcome that says what is wrong; no 500, no hang."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from tinker.proto import tinker_public_pb2 as proto
from tinker_front import Opened, bare_app

from serve.tinker_api import wire
from serve.tinker_api.futures import JSON, PROTOBUF
from serve.tinker_api.paths import session_of

API = "/api/v1"
NUMBERS = itertools.count()  # of training clients
STILL = {"optim_params": {"learning_rate": 0}}
IN_TURN = (
    "optim_step", "load_weights", "save_weights", "save_weights_external",
    "save_weights_for_sampler",
)  # fmt: skip
BYTES = {"Content-Type": PROTOBUF}

schema = schemathesis.openapi.from_dict(bare_app().openapi())


@pytest.fixture(scope="module")
def client(opened: Opened) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{opened.url}{API}/", timeout=30) as client:
        yield client


def outcome(client: httpx2.Client, request: str) -> dict[str, Any]:
    """Once it is there (the test's own time limit bounds that), and no fault of the server's."""
    while True:
        reply = client.post("retrieve_future", json={"request_id": request})
        if reply.status_code != 408:
            break
    assert reply.status_code == 200, reply.text
    told = reply.json() if reply.headers["content-type"] == JSON else {}
    assert told.get("category") != "server", told
    return told


def session(client: httpx2.Client) -> str:
    """A new one."""
    body = {"tags": [], "user_metadata": None, "sdk_version": "0"}
    return client.post("create_session", json=body).json()["session_id"]


class Turn:
    """A training client that no request has failed, and the number of its next one."""

    def __init__(self, client: httpx2.Client, base: str) -> None:
        self._client, self._base = client, base
        self._begin()

    @property
    def ids(self) -> dict[str, Any]:
        """What makes a request the next one."""
        return {"model_id": self.model_id, "seq_id": self.seq_id}

    def renew(self) -> None:
        """A new client in its place."""
        finish = f"sessions/{session_of(self.model_id)}/finish"
        assert self._client.post(finish, json={"reason": {"type": "success"}}).status_code == 204
        self._begin()

    def _begin(self) -> None:
        ids = {"session_id": session(self._client), "model_seq_id": 0, "base_model": self._base}
        made = self._client.post("create_model", json=ids | {"lora_config": {"rank": 1}}).json()
        assert "error" not in outcome(self._client, made["request_id"])
        self.model_id, self.seq_id = made["model_id"], 1


@pytest.fixture(scope="module")
def turn(opened: Opened, client: httpx2.Client) -> Turn:
    return Turn(client, opened.base)


@pytest.fixture(scope="module")
def names(opened: Opened, client: httpx2.Client) -> dict[str, str]:
    """Names that are there: a session, the base, a sampler."""
    there = {"session_id": session(client), "base_model": opened.base}
    body = there | {"sampling_session_seq_id": 0}
    sampler = client.post("create_sampling_session", json=body).json()["sampling_session_id"]
    return there | {"sampling_session_id": sampler, "sampler": sampler}


@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_request_is_refused_or_comes_to_something(
    case: schemathesis.Case, opened: Opened, names: Any, turn: Turn, client: Any
) -> None:
    draw = random.Random(repr(case.body))
    body = case.body if isinstance(case.body, dict) else {}
    has_turn = case.path.endswith(IN_TURN) and draw.random() < 0.75
    if has_turn:
        body.update(turn.ids)
    if case.path.endswith("finish"):
        names = {"session_id": session(client)}  # so that ours stays
    for fields in (body, case.path_parameters):
        fields.update({k: v for k, v in names.items() if k in fields and draw.random() < 0.75})
    if "model_seq_id" in body:
        body["model_seq_id"] = next(NUMBERS)
    reply = case.call_and_validate(checks=[not_a_server_error], base_url=opened.url, timeout=30)
    if reply.status_code == 200 and "request_id" in reply.json():
        outcome(client, reply.json()["request_id"])
    elif has_turn:  # what follows would wait for ever
        assert case.meta is not None
        assert case.meta.generation.mode is GenerationMode.NEGATIVE, reply.text
        return
    if has_turn:
        turn.seq_id += 1
        behind = client.post("optim_step", json=turn.ids | STILL).json()["request_id"]
        turn.seq_id += 1
        if "error" in outcome(client, behind):
            turn.renew()


def test_a_sampler_is_never_taken_for_one_of_other_weights(client: Any, names: Any) -> None:
    weights = {"model_path": f"tinker://{'0' * 32}:train:0/weights/a"}
    body = {"session_id": names["session_id"], "sampling_session_seq_id": 0}
    assert client.post("create_sampling_session", json=body | weights).status_code == 400
    again = body | {"base_model": names["base_model"]}
    reply = client.post("create_sampling_session", json=again).json()
    assert reply["sampling_session_id"] == names["sampler"]


@given(st.binary(max_size=200))
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_bytes_that_are_no_pass(client: httpx2.Client, body: bytes) -> None:
    reply = client.post("forward_backward", content=body, headers=BYTES)
    assert 400 <= reply.status_code < 500


def damaged(data: st.DataObject) -> bytes:
    """A whole pass, some of its bytes changed."""
    message = proto.ForwardBackwardRequest(model_id="m", seq_id=1, loss_fn="cross_entropy")
    row = message.data.add()
    row.model_input.add().encoded_text.tokens = bytes([1, 0, 0, 0, 2, 0, 0, 0])
    row.loss_fn_inputs["target_tokens"].dense = bytes([2, *[0] * 7, 3, *[0] * 7])
    row.loss_fn_inputs["target_tokens"].dtype = proto.DTYPE_INT64
    body = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    return bytes(body)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_pass_that_is_damaged_comes_to_something(
    turn: Turn, client: httpx2.Client, data: st.DataObject
) -> None:
    try:
        message = wire.parse_pass(damaged(data))
    except ValueError:
        return
    message.model_id, message.seq_id = turn.model_id, turn.seq_id
    message.forward_only = True  # so that it fails nothing
    reply = client.post("forward_backward", content=message.SerializeToString(), headers=BYTES)
    outcome(client, reply.json()["request_id"])
    turn.seq_id += 1


@given(st.data())
@settings(max_examples=200)
def test_a_pass_that_is_damaged_is_told_or_read(data: st.DataObject) -> None:
    """ValueError, or datums that can be used."""
    try:
        parsed = wire.parse_pass(damaged(data))
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
