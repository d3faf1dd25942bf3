"""Bodies of an HTTP 200: answers, and the failures that look like them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.calls.answers import Answer, read_answer
from actors.pool.calls.retry import Trouble
from actors.pool.requests import TokenLogprob


def body(**changes: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.002}
    choice = {"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": usage, **changes}


def with_choice(**changes: Any) -> dict[str, Any]:
    return body(choices=[{**body()["choices"][0], **changes}])


def read(value: Any) -> Answer | Trouble:
    return read_answer(json.dumps(value).encode())


def test_an_answer():
    assert read(body()) == Answer("Hello.", False, "stop", 7, 3, 0.002, "m")


@pytest.mark.parametrize("usage", [None, {}, {"cost": None}])
def test_an_answer_whose_cost_nobody_states(usage: Any):
    expected = Answer("Hello.", False, "stop", 0, 0, 0.0, "m", cost_is_stated=False)
    assert read(body(usage=usage)) == expected


def test_an_answer_that_is_free():
    found = read(body(usage={"cost": 0}))
    assert isinstance(found, Answer)
    assert (found.cost_usd, found.cost_is_stated) == (0.0, True)


def test_a_refusal_is_an_answer():
    found = read(with_choice(message={"content": None, "refusal": "I will not."}))
    assert isinstance(found, Answer)
    assert found.refusal
    assert found.text == "I will not."


@pytest.mark.parametrize("content", [None, "", "half an ans"])
def test_a_content_filter_is_an_answer(content: str | None):
    found = read(with_choice(message={"content": content}, finish_reason="content_filter"))
    assert isinstance(found, Answer)
    assert found.refusal
    assert found.text == (content or "")


FLAGGED = {"code": 403, "message": "flagged", "metadata": {"flagged_input": "..."}}


@pytest.mark.parametrize(
    "value",
    [
        {"error": FLAGGED},
        body(error=FLAGGED),
        with_choice(error=FLAGGED, finish_reason="error"),
        {"error": {"code": "content_filter", "message": "flagged"}},
    ],
)
def test_flagged_input_inside_an_http_200_is_a_refusal(value: Any):
    found = read(value)
    assert isinstance(found, Answer)
    assert (found.refusal, found.text, found.finish_reason) == (True, "flagged", "content_filter")
    assert found.cost_usd == (0.002 if "usage" in value else 0.0)


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"code": 502, "message": "bad gateway"}},
        {"error": "bad gateway"},
        body(error={"code": 500, "message": "late"}),
        body(choices=[]),
        body(choices=None),
        body(choices="none"),
        body(choices=[None]),
        with_choice(finish_reason=None),
        with_choice(finish_reason="error"),
        with_choice(error={"code": 502, "message": "upstream"}, finish_reason="error"),
        with_choice(message={"content": ""}),
        with_choice(message={"content": " \n"}),
        with_choice(message={"content": None}),
        with_choice(message=None),
        [],
        "text",
        None,
    ],
)
def test_an_http_200_without_an_answer_is_tried_again(value: Any):
    found = read(value)
    assert isinstance(found, Trouble)
    assert (found.action, found.kind) == ("retry", "server")


def test_a_wrapped_429_counts_as_rate_limited():
    found = read({"error": {"code": 429, "message": "slow down"}})
    assert isinstance(found, Trouble)
    assert found.kind == "rate_limited"


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"choices": [', b"\xff\xfe"])
def test_a_body_that_is_not_json_is_tried_again(raw: bytes):
    found = read_answer(raw)
    assert isinstance(found, Trouble)
    assert found.action == "retry"
    assert found.maybe_billed


def test_a_billed_failure_keeps_its_cost():
    found = read(with_choice(finish_reason=None))
    assert (found.cost_usd, found.cost_is_stated) == (0.002, True)


TOKENS = {"prompt_tokens": 7, "completion_tokens": 3}


@pytest.mark.parametrize("changes", [
    {"finish_reason": None}, {"message": {"content": ""}},
    {"message": {"content": None}, "finish_reason": "length"},
])  # fmt: skip
def test_a_failure_whose_cost_nobody_states_keeps_its_tokens(changes: dict[str, Any]):
    found = read({**with_choice(**changes), "usage": TOKENS})
    assert isinstance(found, Trouble)
    assert (found.prompt_tokens, found.completion_tokens) == (7, 3)
    assert (found.cost_is_stated, found.maybe_billed) == (False, False)


@pytest.mark.parametrize(
    ("value", "maybe_billed"),
    [
        ({**with_choice(finish_reason=None), "usage": None}, True),
        ({"choices": []}, True),
        ([], True),
        ({"error": {"code": 500, "message": "late"}}, False),
        ({"error": {"code": 429, "message": "slow down"}}, False),
        ({"error": {"code": 504, "message": "upstream"}}, True),
        ({"error": {"code": 504, "message": "upstream"}, "usage": {"cost": 0.0}}, False),
    ],
)
def test_a_failure_without_usage_may_be_billed_unless_it_is_an_error(value, maybe_billed: bool):
    found = read(value)
    assert isinstance(found, Trouble)
    assert (found.cost_is_stated, found.maybe_billed) == (True, maybe_billed)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(choices=_JSON, usage=_JSON, error=_JSON, finish=_JSON, message=_JSON)
def test_no_body_raises(choices: Any, usage: Any, error: Any, finish: Any, message: Any):
    choice = {"finish_reason": finish, "message": message}
    for value in (choices, [choice]):
        found = read({"choices": value, "usage": usage, "error": error, "model": finish})
        assert isinstance(found, Answer | Trouble)


def token(*alternatives: Any) -> dict[str, Any]:
    given = [{"token": token, "logprob": logprob} for token, logprob in alternatives]
    return {"token": "85", "logprob": -0.1, "top_logprobs": given}


def test_the_alternatives_at_each_token_are_read():
    content = [token(("85", -0.1), (" 9", -3)), token()]
    found = read(with_choice(logprobs={"content": content}))
    assert isinstance(found, Answer)
    assert found.logprobs == (
        (TokenLogprob("85", -0.1), TokenLogprob(" 9", -3.0)),
        (),
    )


@pytest.mark.parametrize(
    "given",
    [None, {}, [], {"content": None}, {"content": []}, {"content": [None]}, {"content": [token()]},
     {"content": [token((None, -1), ("a", None), ("b", "-1"), ("c", 2.5))]}],
)  # fmt: skip
def test_no_logprobs_are_none(given: Any):
    found = read(with_choice(logprobs=given))
    assert isinstance(found, Answer)
    assert found.logprobs is None


@given(content=_JSON, alternatives=_JSON, alternative=st.dictionaries(
    st.sampled_from(["token", "logprob"]), _JSON | st.floats()))  # fmt: skip
def test_odd_logprobs_do_not_lose_an_answer(content: Any, alternatives: Any, alternative: Any):
    for tokens in (content, [content], [{"top_logprobs": alternatives}],
                   [{"top_logprobs": [alternative]}]):  # fmt: skip
        assert isinstance(read(with_choice(logprobs={"content": tokens})), Answer)


@given(usage=st.dictionaries(st.sampled_from(["prompt_tokens", "cost"]), _JSON))
def test_odd_usage_does_not_lose_an_answer(usage: dict[str, Any]):
    assert isinstance(read(body(usage=usage)), Answer)
