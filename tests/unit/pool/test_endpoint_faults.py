"""The embedded endpoint's pure parts: which fault meets a request, what it reads and replies."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.pool.calls.prompted import with_schema
from actors.pool.endpoint.faults import FaultConfig, decide
from actors.pool.endpoint.replies import reply
from actors.pool.endpoint.request import BadRequest, parse_request

GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi there"}]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "Score", "schema": {"type": "object"}}}


def parsed(**changes: Any) -> Any:
    return parse_request(json.dumps({**GOOD, **changes}).encode())


@given(ordinal=st.integers(0, 10**6), digest=st.binary(min_size=8, max_size=8))
def test_the_same_request_meets_the_same_fault(ordinal: int, digest: bytes):
    config = FaultConfig(share={"rate_limited": 0.3, "reset": 0.3})
    assert decide(config, ordinal, digest) == decide(config, ordinal, digest)
    assert decide(FaultConfig(), ordinal, digest) is None
    assert decide(FaultConfig(share={"stall": 1.0}), ordinal, digest) == "stall"


def test_shares_are_met():
    config = FaultConfig(share={"rate_limited": 0.2, "server_error": 0.1})
    found = Counter(decide(config, i, i.to_bytes(8, "big")) for i in range(20_000))
    assert found["rate_limited"] == pytest.approx(4_000, rel=0.05)
    assert found["server_error"] == pytest.approx(2_000, rel=0.07)
    assert found[None] == pytest.approx(14_000, rel=0.02)


def test_the_first_requests_meet_what_is_listed():
    config = FaultConfig(first=["reset", "none", "stall"], share={"refusal": 1.0})
    found = [decide(config, i, b"x") for i in range(4)]
    assert found == ["reset", None, "stall", "refusal"]


def test_credit_runs_out_after_so_many_requests():
    config = FaultConfig(out_of_credit_after=2, first=["none"] * 9)
    assert [decide(config, i, b"x") for i in range(3)] == [None, None, "out_of_credit"]


@pytest.mark.parametrize("heal", [True, False])
def test_a_misfit_heals_on_the_second_ask_where_it_may(heal: bool):
    config = FaultConfig(share={"violation": 1.0}, heal=heal)
    assert decide(config, 0, b"x", asked_again=True) == (None if heal else "violation")


@pytest.mark.parametrize(
    "fields", [{"share": {"reset": 0.7, "stall": 0.7}}, {"share": {"no": 1}}, {"latency": 1}]
)
def test_switches_that_make_no_sense_are_refused(fields: dict[str, Any]):
    with pytest.raises(ValidationError):
        FaultConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role"),
        ({"messages": ["Hi"]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"seed": "x"}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"stream": True}, "stream"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_bad_request_names_its_field(changes: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as raised:
        parsed(**changes)
    assert raised.value.param == param


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(
    body=st.dictionaries(st.sampled_from([*GOOD, "n", "seed", "response_format", "stream"]), _JSON),
    message=st.fixed_dictionaries({"role": _JSON | st.just("user"), "content": _JSON | st.text()}),
)
def test_any_body_is_read_or_refused(body: dict[str, Any], message: dict[str, Any]):
    try:
        request = parse_request(json.dumps({**GOOD, "messages": [message], **body}).encode())
    except BadRequest:
        return
    assert reply(request, None, FaultConfig(), b"d", lambda _: "text").status == 200


def test_choices_have_seeds_of_their_own_and_tokens_are_counted():
    request = parsed(n=3, seed=5)
    config = FaultConfig(cost_usd=0.25)
    made = reply(request, None, config, b"d", lambda body: f"seed {body['seed']}")
    body = json.loads(made.body)
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert texts == ["seed 5", "seed 6", "seed 7"]
    assert body["usage"]["prompt_tokens"] == 2
    assert body["usage"]["cost"] == made.cost_usd == 0.25


def test_an_answer_over_max_tokens_is_cut():
    body = json.loads(
        reply(parsed(max_tokens=2), None, FaultConfig(), b"d", lambda _: "a" * 9).body
    )
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["message"]["content"] == "a" * 8


@pytest.mark.parametrize("sent", [None, {"type": "json_object"}])
def test_a_schema_in_the_prompt_is_read_as_if_it_stood_in_the_response_format(sent: Any):
    form = {"type": "json_schema", "json_schema": {**SCHEMA["json_schema"], "strict": True}}
    body = {"messages": with_schema(GOOD["messages"], form)}
    request = parsed(**body, **({"response_format": sent} if sent else {}))
    assert request.body["messages"] == GOOD["messages"]
    assert request.body["response_format"] == form
    assert (request.has_schema, request.sent_format) == (True, sent and "json_object")


def test_rules_do_not_see_complaints_about_form():
    seen: list[Any] = []
    turns = [
        *GOOD["messages"],
        {"role": "assistant", "content": "{}"},
        {"role": "user", "content": "That does not fit."},
    ]

    def answer(body: Any) -> str:
        seen.append(body["messages"])
        return "{}"

    reply(parsed(messages=turns, response_format=SCHEMA), None, FaultConfig(), b"d", answer)
    reply(parsed(messages=turns), None, FaultConfig(), b"d", answer)
    assert seen == [GOOD["messages"], turns]
