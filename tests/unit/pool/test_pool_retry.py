"""What each failure leads to, and how long the next attempt waits."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.calls.error_body import is_moderated
from actors.pool.calls.retry import (
    RetryPolicy,
    Trouble,
    retry_after_s,
    status_trouble,
    wrapped_trouble,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BODY = {"error": {"message": "no\n such thing", "code": 400}}


@pytest.mark.parametrize(
    ("status", "action", "kind"),
    [
        (400, "final", "rejected"),
        (401, "fatal", "rejected"),
        (402, "fatal", "rejected"),
        (403, "fatal", "rejected"),
        (404, "final", "rejected"),
        (408, "retry", "timeout"),
        (409, "retry", "server"),
        (413, "final", "rejected"),
        (422, "final", "rejected"),
        (429, "retry", "rate_limited"),
        (500, "retry", "server"),
        (503, "retry", "server"),
        (529, "retry", "server"),
    ],
)
def test_a_status_says_what_to_do(status: int, action: str, kind: str):
    trouble = status_trouble(status, BODY, {}, NOW)
    assert (trouble.action, trouble.kind, trouble.status) == (action, kind, status)
    assert "no such thing" in trouble.message


@pytest.mark.parametrize(
    ("status", "maybe_billed"),
    [(408, True), (502, True), (504, True), (524, True), (500, False), (503, False), (429, False)],
)
def test_a_proxy_that_gave_up_waiting_knows_nothing_of_the_bill(status: int, maybe_billed: bool):
    assert status_trouble(status, BODY, {}, NOW).maybe_billed == maybe_billed


@pytest.mark.parametrize(
    ("code", "action", "kind"),
    [
        (429, "retry", "rate_limited"),
        (500, "retry", "server"),
        ("504", "retry", "server"),
        (400, "retry", "server"),
        ("server_error", "retry", "server"),
        (None, "retry", "server"),
        (401, "fatal", "rejected"),
        (402, "fatal", "rejected"),
    ],
)
def test_an_error_inside_an_http_200(code: object, action: str, kind: str):
    trouble = wrapped_trouble({"code": code, "message": "upstream"})
    assert (trouble.action, trouble.kind) == (action, kind)


def test_an_error_inside_an_http_200_may_be_a_bare_string():
    trouble = wrapped_trouble("it broke")
    assert trouble.action == "retry"
    assert "it broke" in trouble.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None):
    assert retry_after_s({"retry-after": value}, NOW) == seconds


def test_no_retry_after():
    assert retry_after_s({}, NOW) is None


NOW_MS = NOW.timestamp() * 1000


def repeated(value: object) -> dict[str, object]:
    return {"error": {"code": 429, "metadata": {"headers": {"X-RateLimit-Reset": value}}}}


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"x-ratelimit-reset": f"{NOW_MS + 42_500:.0f}"}, BODY, 42.5),
        ({"x-ratelimit-reset": f"{NOW_MS + 42_500:.0f}", "retry-after": "3"}, BODY, 3.0),
        ({}, repeated(f"{NOW_MS + 9_000:.0f}"), 9.0),
        ({}, repeated(NOW_MS + 9_000), 9.0),
        ({}, repeated(["soon"]), None),
        ({}, repeated(10**400), None),
        ({}, {"error": {"metadata": {"headers": "none"}}}, None),
        ({"x-ratelimit-reset": f"{NOW_MS - 1:.0f}"}, BODY, None),
        ({"x-ratelimit-reset": "30"}, BODY, None),
        ({"x-ratelimit-reset": "soon"}, BODY, None),
        ({"x-ratelimit-reset": "nan"}, BODY, None),
    ],
)
def test_a_429_waits_for_the_reset_where_nothing_else_is_told(headers, body, seconds):
    assert status_trouble(429, body, headers, NOW).retry_after_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("status", "message", "refuses"),
    [
        (404, "No endpoints found that can handle the requested parameters.", True),
        (404, "No endpoints found that support response_format. To learn more, visit", True),
        (404, "No endpoints found for this model.", False),
        (404, "response_format: no such page", False),
        (400, "response_format is not supported", True),
        (422, "Unprocessable: response_format", True),
        (400, "No endpoints found that support that", False),
        (400, "messages is missing", False),
    ],
)
def test_which_refusals_are_of_the_schema(status: int, message: str, refuses: bool):
    trouble = status_trouble(status, {"error": {"message": message}}, {}, NOW)
    assert (trouble.action, trouble.refuses_schema) == ("final", refuses)


@given(
    attempt=st.integers(1, 200),
    told_s=st.none() | st.floats(0, 1e9),
    seed=st.integers(),
)
def test_a_wait_is_never_shorter_than_told_nor_longer_than_the_caps(
    attempt: int, told_s: float | None, seed: int
):
    policy = RetryPolicy(base_s=0.5, cap_s=30, retry_after_cap_s=120)
    trouble = Trouble("retry", "rate_limited", "", told_s)
    wait_s = policy.wait_s(attempt, trouble, random.Random(seed))
    least_s = 0 if told_s is None else min(told_s, 120)
    assert least_s <= wait_s <= least_s + (30 if told_s is None else 0.5)


def test_full_jitter_spreads_over_a_doubling_interval():
    policy, rng = RetryPolicy(base_s=1, cap_s=100), random.Random(0)
    trouble = Trouble("retry", "server", "")
    for attempt in (1, 2, 3, 4):
        waits_s = [policy.wait_s(attempt, trouble, rng) for _ in range(500)]
        top_s = 2 ** (attempt - 1)
        assert min(waits_s) < 0.05 * top_s
        assert 0.95 * top_s < max(waits_s) <= top_s


def test_asking_again_does_not_wait():
    assert RetryPolicy().wait_s(3, Trouble("ask_again", "invalid", ""), random.Random(0)) == 0


def test_flagged_input_is_told_apart_from_a_refused_key():
    flagged = {"code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "..."}}
    assert is_moderated(403, {"error": flagged})
    assert is_moderated(400, {"code": "content_filter"})
    assert not is_moderated(403, {"error": {"code": 403, "message": "no access"}})
    assert not is_moderated(403, {"error": {"code": ["content_filter"]}})
    assert not is_moderated(429, {"code": "content_filter"})
    assert not is_moderated(403, "<html>")
