"""What is told of calls: the estimate, the note beside progress, the end of a budget."""

import queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.messages import user
from actors.pool.books.client import Spent
from actors.pool.books.prices import Prices
from actors.pool.counts import Counts
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest
from actors.store.records import Records
from actors.store.storage import Storage
from configs.errors import BudgetReached
from configs.gen_eval import GenEvalConfig
from configs.generate import GenerateConfig
from jobs import console
from jobs.properties import gen_eval
from jobs.properties.accounts import account, account_line, budget_reached
from jobs.properties.estimate import Estimate, Stage, estimate
from jobs.properties.generate_calls import stages
from jobs.properties.pooled import pool_note

PROVIDER = Provider("p", "http://p/v1", "none", "m", "p")
PRICES = {"m": Prices(1e-6, 4e-6, 0.0, 1000)}


def stage(calls: int, name: str = "s", tokens: int = 100) -> Stage:
    return Stage(name, calls, ChatRequest("k", [user("How are you? " * 20)]), tokens)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            Estimate(156, 0.41, 2.1),
            "estimate: 156 calls, about $0.41; $2.10 with the longest answers",
        ),
        (
            Estimate(1, 0.00041, 0.0125),
            "estimate: 1 call, about $0.00041; $0.013 with the longest answers",
        ),
        (Estimate(3, 0.0, 0.0), "estimate: 3 calls, about $0.00; $0.00 with the longest answers"),
        (Estimate(7, None, None), "estimate: 7 calls, no prices known"),
    ],
)
def test_an_estimate_as_it_is_printed(found, said):
    assert str(found) == said


def test_what_is_stored_is_not_estimated_again():
    both = [stage(10, "a"), stage(5, "b")]
    whole = estimate(both, {}, PROVIDER, PRICES)
    rest = estimate(both, {"a": 10, "b": 3}, PROVIDER, PRICES)
    assert (whole.calls, rest.calls) == (15, 2)
    assert whole.about_usd is not None
    assert rest.about_usd == pytest.approx(whole.about_usd * 2 / 15)
    assert estimate(both, {"a": 12, "b": 5}, PROVIDER, PRICES) == Estimate(0, 0.0, 0.0)


def test_a_model_without_prices_has_no_estimate_unless_nothing_is_left_to_ask():
    assert estimate([stage(2)], {}, PROVIDER, {}) == Estimate(2, None, None)
    assert estimate([stage(2)], {"s": 2}, PROVIDER, {}) == Estimate(0, 0.0, 0.0)


@given(calls=st.integers(0, 10_000), tokens=st.integers(0, 1000))
def test_about_is_never_more_than_with_the_longest_answers(calls: int, tokens: int):
    found = estimate([stage(calls, tokens=tokens)], {}, PROVIDER, PRICES)
    assert found.about_usd is not None
    assert found.longest_usd is not None
    assert 0 <= found.about_usd <= found.longest_usd


def test_generate_plans_the_calls_that_it_makes():
    config = GenerateConfig(property="honest", model="m", num_subtypes=4, num_prompts=3)
    assert [(s.name, s.calls) for s in stages(config, None)] == [
        ("subtypes", 1), ("prompts", 4), ("examples", 12),
    ]  # fmt: skip
    twice = config.model_copy(update={"num_examples": 2})
    assert [(s.name, s.calls) for s in stages(twice, 5)] == [("examples", 10)]


def test_gen_eval_plans_the_calls_that_it_makes():
    config = GenEvalConfig(properties=["a", "b"], model="m", num_categories=3)
    assert [(s.name, s.calls) for s in gen_eval.stages(config)] == [
        ("categories", 2), ("prompts", 6),
    ]  # fmt: skip


def test_the_note_names_only_what_there_is():
    counts = Counts(done=3, in_flight=34, cost_usd=0.01234)
    assert pool_note(counts, 12.0) == "12/s, 34 in flight, $0.0123"
    counts = Counts(done=8, cached=5, in_flight=34, rate_limited=3, cost_usd=0.01234)
    assert pool_note(counts, 0.25) == "0.25/s, 34 in flight, 3 x 429, 5 cached, $0.0123"


def test_the_pace_is_that_of_the_last_ten_seconds():
    pace = console.Pace()
    assert pace.per_s(0, 0.0) == 0.0
    assert pace.per_s(10, 5.0) == 2.0
    assert pace.per_s(20, 10.0) == 2.0
    for now_s in range(11, 40):
        pace.per_s(20, float(now_s))
    assert pace.per_s(20, 40.0) == 0.0


def test_the_pace_of_what_comes_in_one_message_is_not_known():
    pace = console.Pace()
    assert [pace.per_s(done, 0.001 * done) for done in range(4)] == [0.0] * 4


def test_what_is_done_again_counts_once_and_has_no_pace(capsys):
    pace = console.Pace()
    assert [pace.per_s(done, float(now_s)) for now_s, done in enumerate([4, 6, 2])] == [0, 2, 0]
    with console.progress("grpo", 9) as shown:
        for done in (4, 6, 2, 3, 7):
            shown.reach(done, f"step {done}")
    assert "grpo: 7/9" in capsys.readouterr().out


def test_the_account_is_that_of_the_books(tmp_path):
    rows = Records(Storage(str(tmp_path)), "calls")
    for key in "ab":
        rows.append(key, stage="s", outcome="answered", cost_usd=9.0)
    assert account(rows, Spent(0.25, 0.0, 1.0)) == {
        "outcomes": {"s": {"answered": 2}},
        "cost_usd": 0.25,
    }
    unsure = account(rows, Spent(0.25, 0.5, 1.0))
    assert unsure["presumed_usd"] == 0.5
    assert account_line(unsure) == (
        "s 2 answered; $0.2500 (and up to $0.5000 for calls of unknown end)"
    )


def test_the_end_of_a_budget_says_what_is_stored_and_how_to_go_on():
    reached = BudgetReached("budget_usd=0.05: full. Give a larger one.")
    ended = budget_reached(reached, "examples", 4, 20, Spent(0.04, 0.01, 0.04))
    assert ended.exit_code == 3
    assert str(ended) == (
        "examples: 4 of 20 calls are stored; the run has cost $0.0400, and up to $0.0100 for calls "
        "of unknown end. budget_usd=0.05: full. Give a larger one."
    )


def test_progress_ends_with_one_line_that_has_the_last_note(capsys):
    with console.progress("calls", 2) as shown:
        shown.advance()
        shown.advance(note="1/s")
        shown.note("2/s")
    assert capsys.readouterr().out == "calls: 2/2 in 0 s · 2/s\n"


@pytest.mark.parametrize("done", [0, 1])
def test_progress_with_nothing_new_says_nothing(capsys, done: int):
    with console.progress("calls", 2, done):
        pass
    assert capsys.readouterr().out == ""


def test_progress_counts_on_from_what_was_done_before(capsys):
    with console.progress("calls", 5, 3) as shown:
        shown.advance()
    assert capsys.readouterr().out.startswith("calls: 4/5 in ")


def test_progress_without_news_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch):
    said = queue.SimpleQueue[str]()
    monkeypatch.setattr(console, "say", said.put)
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_SIGNS", 0.01)
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_LINES", 0.0)
    with console.progress("calls", 2):
        assert said.get(timeout=60).startswith("calls: 0/2 in ")
