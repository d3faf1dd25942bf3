"""One call's life, with the wire and the clock given by the test."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from actors.lm.messages import user
from actors.pool.calls.answers import Answer
from actors.pool.calls.body import request_body, sent_seed
from actors.pool.calls.call import Bill, Caller
from actors.pool.calls.prompted import without_schema
from actors.pool.calls.retry import RetryPolicy, Trouble, status_trouble
from actors.pool.errors import ProviderRefused, ProviderUnreachable
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome, TokenLogprob
from configs.errors import UserError

PROVIDER = Provider(
    "openrouter",
    "http://x/v1",
    "k",
    "default-model",
    "note",
    "OPENROUTER_API_KEY",
    {"provider": {"require_parameters": True}},
)
BUSY = Trouble("retry", "rate_limited", "HTTP 429: slow down", retry_after_s=3.0, status=429)
REFUSED = Trouble("retry", "connection", "cannot connect", unreachable=True)


class Score(BaseModel):
    score: int


def answer(text: str, **changes: Any) -> Answer:
    return Answer(text, False, "stop", 5, 2, 0.01, "echoed")._replace(**changes)


def live(
    found: Sequence[Answer | Trouble],
    caller: Caller,
    schema: type[BaseModel] | None = None,
    **fields: Any,
) -> tuple[Outcome, list[dict[str, Any]], list[float]]:
    """The outcome of a request whose attempts end as `found`, what was sent, and the waits."""
    script, sent, waits_s = iter(found), [], []

    class Scripted:
        async def turn(self) -> None:
            pass

        async def ask(self, payload: dict[str, Any], attempt: int) -> Answer | Trouble:
            sent.append(payload)
            return next(script)

        async def pause(self, wait_s: float) -> None:
            waits_s.append(wait_s)

        async def pay_again(self, payload: dict[str, Any]) -> None:
            pass

    request = ChatRequest("k", [user("Score this.")], schema=schema, seed=1, **fields)
    body = request_body(request, PROVIDER)
    return asyncio.run(caller.call(request, body, Scripted(), Bill())), sent, waits_s


def new_caller(max_attempts: int = 4) -> Caller:
    return Caller(PROVIDER, max_attempts, RetryPolicy(base_s=0.5), random.Random(0))


def test_a_first_answer():
    outcome, sent, waits_s = live([answer("Hi.")], new_caller())
    assert isinstance(outcome, Completion)
    assert (outcome.key, outcome.text, outcome.value, outcome.attempts) == ("k", "Hi.", None, 1)
    assert (outcome.prompt_tokens, outcome.completion_tokens, outcome.model) == (5, 2, "echoed")
    assert waits_s == []
    message = {"role": "user", "content": "Score this."}
    assert sent == [{"model": "default-model", "messages": [message], "seed": 1}]


def test_a_retry_heals_and_waits_as_told():
    caller = new_caller()
    outcome, sent, waits_s = live([BUSY, BUSY, answer("Hi.")], caller)
    assert isinstance(outcome, Completion)
    assert outcome.attempts == 3
    assert sent[0] == sent[1] == sent[2]
    assert all(wait_s >= 3.0 for wait_s in waits_s)
    assert (caller.counts.retries, caller.counts.rate_limited) == (2, 2)


def test_what_never_heals_is_a_failure_with_its_attempts():
    outcome, sent, waits_s = live([BUSY] * 4, new_caller(max_attempts=4))
    assert outcome == Failure("k", "rate_limited", BUSY.message, 4, 0.0)
    assert (len(sent), len(waits_s)) == (4, 3)


def test_a_rejected_request_is_not_tried_again():
    outcome, sent, _ = live([Trouble("final", "rejected", "HTTP 400: no")], new_caller())
    assert outcome == Failure("k", "rejected", "HTTP 400: no", 1, 0.0)
    assert len(sent) == 1


def test_a_misfit_is_asked_again_with_the_complaint():
    found = [answer("{}"), BUSY, answer('{"score": "many"}'), answer('{"score": 7}')]
    caller = new_caller()
    outcome, sent, waits_s = live(found, caller, Score)
    assert isinstance(outcome, Completion)
    assert outcome.value == Score(score=7)
    assert outcome.attempts == 4
    assert outcome.cost_usd == pytest.approx(0.03)
    assert caller.counts.cost_usd == pytest.approx(0.03)
    assert waits_s[0] == 0
    assert "score: Field required" in sent[1]["messages"][-1]["content"]
    assert sent[2] == sent[1]
    # Only the latest misfit is shown again, so that the conversation does not grow.
    assert sent[3]["messages"][1]["content"] == '{"score": "many"}'
    assert len(sent[3]["messages"]) == 3
    assert sent[0]["provider"] == {"require_parameters": True}


def test_a_misfit_that_never_heals_is_billed_and_failed():
    outcome, _, _ = live([answer("{}")] * 4, new_caller(), Score)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.attempts) == ("invalid", 4)
    assert outcome.cost_usd == pytest.approx(0.04)


def test_a_cut_answer_is_told_why():
    cut = answer('{"score": ', finish_reason="length")
    _, sent, _ = live([cut, answer('{"score": 7}')], new_caller(), Score)
    assert "cut off at max_tokens" in sent[1]["messages"][-1]["content"]


def test_a_refusal_is_a_result_although_it_does_not_fit():
    outcome, _, _ = live([answer("No.", refusal=True)], new_caller(), Score)
    assert isinstance(outcome, Completion)
    assert (outcome.refusal, outcome.text, outcome.value) == (True, "No.", None)


NO_SCHEMA = status_trouble(
    400, {"message": "no", "param": "response_format"}, {}, datetime.now(UTC)
)
NO_ENDPOINT = status_trouble(
    404,
    {"message": "No endpoints found that can handle the requested parameters."},
    {},
    datetime.now(UTC),
)


def test_a_refused_schema_is_asked_for_in_json_mode():
    caller = new_caller(max_attempts=1)
    outcome, sent, waits_s = live([NO_ENDPOINT, answer('{"score": 7}')], caller, Score)
    assert isinstance(outcome, Completion)
    assert (outcome.value, outcome.attempts, outcome.schema_mode) == (Score(score=7), 2, "json")
    assert waits_s == [0]
    form = sent[0]["response_format"]
    assert sent[1]["response_format"] == {"type": "json_object"}
    assert sent[1]["provider"] == sent[0]["provider"]
    assert without_schema(sent[1]["messages"][-1]["content"]) == ("Score this.", form)
    outcome, sent, _ = live([answer('{"score": 8}')], caller, Score)
    assert sent[0]["response_format"] == {"type": "json_object"}


def test_a_refused_json_mode_leaves_the_schema_in_the_prompt_alone():
    caller = new_caller(max_attempts=1)
    outcome, sent, waits_s = live([NO_SCHEMA, NO_SCHEMA, answer('{"score": 7}')], caller, Score)
    assert isinstance(outcome, Completion)
    assert (outcome.value, outcome.attempts, outcome.schema_mode) == (Score(score=7), 3, "prompt")
    assert waits_s == [0, 0]
    assert "response_format" not in sent[2]
    assert "provider" not in sent[2]  # its options are about response_format
    form = sent[0]["response_format"]
    assert without_schema(sent[2]["messages"][-1]["content"]) == ("Score this.", form)
    # A later call does not try first; asking again keeps the schema.
    caller.max_attempts = 2
    outcome, sent, _ = live([answer("{}"), answer('{"score": 7}')], caller, Score)
    assert isinstance(outcome, Completion)
    assert sent[1]["messages"][0] == sent[0]["messages"][0]
    assert without_schema(sent[1]["messages"][0]["content"]) == ("Score this.", form)


def test_a_schema_that_is_refused_in_the_prompt_too_is_a_failure():
    outcome, sent, _ = live([NO_SCHEMA] * 3, new_caller(), Score)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, len(sent)) == ("rejected", 3)


def test_a_refusal_of_a_schema_means_nothing_to_a_request_without_one():
    outcome, sent, _ = live([NO_ENDPOINT], new_caller())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, len(sent)) == ("rejected", 1)


def test_logprobs_are_asked_for_and_handed_on():
    given = ((TokenLogprob("85", -0.1), TokenLogprob("90", -2.5)),)
    outcome, sent, _ = live([answer("85", logprobs=given)], new_caller(), top_logprobs=20)
    assert isinstance(outcome, Completion)
    assert outcome.logprobs == given
    assert (sent[0]["logprobs"], sent[0]["top_logprobs"]) == (True, 20)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "Set OPENROUTER_API_KEY"), (402, "Add credit"), (403, "Set")]
)
def test_a_refused_account_ends_the_job(status: int, words: str):
    fatal = Trouble("fatal", "rejected", "not yours", status=status)
    with pytest.raises(ProviderRefused, match=words) as raised:
        live([BUSY, fatal], new_caller())
    assert f"HTTP {status}: not yours" in str(raised.value)


def test_an_endpoint_that_never_answered_ends_the_job():
    with pytest.raises(ProviderUnreachable, match="http://x/v1"):
        live([REFUSED] * 4, new_caller())


@pytest.mark.parametrize("other", [BUSY, Trouble("retry", "connection", "reset")])
def test_an_endpoint_that_was_there_is_only_a_failure(other: Trouble):
    outcome, _, _ = live([REFUSED, other, REFUSED, REFUSED], new_caller())
    assert isinstance(outcome, Failure)
    assert outcome.kind == "connection"


def test_an_endpoint_that_answered_an_earlier_call_is_only_a_failure():
    caller = new_caller()
    live([answer("Hi.")], caller)
    outcome, _, _ = live([REFUSED] * 4, caller)
    assert isinstance(outcome, Failure)


def test_draws_of_one_request_have_seeds_of_their_own():
    seeds = [sent_seed(7, sample) for sample in range(200)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 200
    assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)
    assert sent_seed(None, 3) is None


def test_a_request_needs_a_model():
    nameless = Provider("http://x", "http://x", "none", None, "note")
    with pytest.raises(UserError, match="model=NAME"):
        request_body(ChatRequest("k", [user("Hi")]), nameless)


@pytest.mark.parametrize(("may_refuse", "expected"), [("logprobs", True), ("top_p", False)])
def test_a_rejection_is_expected_where_it_names_what_may_be_refused(
    may_refuse: str, expected: bool
):
    refusal = Trouble("final", "rejected", "HTTP 400: logprobs are not supported")
    found, *_ = live([refusal], Caller(PROVIDER, 6), may_refuse=may_refuse)
    assert isinstance(found, Failure)
    assert found.expected == expected
