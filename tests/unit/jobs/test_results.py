"""The tables' numbers from hand-made rows: denominators, pairs, judges, and what is missing."""

import pytest

from actors.lm.messages import user
from jobs.properties.conversations import Cell
from jobs.properties.prompt_file import EvalItem
from jobs.properties.results import agreements, conversation_row, summarise
from jobs.properties.results_file import plain
from jobs.stats.clustered import Estimate
from jobs.stats.leave_one_out import LeftOut


def known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def row(model: str, prompt: int, score: float | None, outcome: str = "judged", judge: str = "j"):
    fields = {
        "model": model,
        "adapter_digest": model * 2,
        "property": "honest",
        "prompt": prompt,
        "sample": 0,
        "judge": judge,
        "outcome": outcome,
    }
    scored = {"score": score, "exhibits": (score or 0) >= 50, "mode": "verdict"}
    return fields if score is None else {**fields, **scored}


def test_means_rates_and_differences():
    rows = [
        *[row("base", i, score) for i, score in enumerate((10, 20, 60))],
        *[row("a@1", i, score) for i, score in enumerate((40, 60, 90))],
    ]
    base, ours = summarise(rows)
    assert (base.model, ours.model) == ("base", "a@1")
    assert base.difference is None
    assert known(ours.score).value == pytest.approx(190 / 3)
    assert known(ours.exhibits).value == pytest.approx(2 / 3)
    assert known(ours.difference).value == pytest.approx(100 / 3)
    assert ours.distinct_scores == 3
    assert ours.left_out == LeftOut(50.0, 2, 75.0, 0)
    assert ours.modes == {"verdict": 3}


def test_a_missing_score_leaves_both_sides_of_the_pair_not_the_denominator_in_silence():
    rows = [
        row("base", 0, 0),
        row("base", 1, 50),
        row("base", 2, 20),
        row("a@1", 0, 100),
        row("a@1", 1, None, "refused"),
        row("a@1", 2, 40),
    ]
    _, ours = summarise(rows)
    assert known(ours.score).n == 2
    assert ours.missing["refused"] == 1
    assert sum(ours.missing.values()) == 1
    assert known(ours.difference).value == pytest.approx(60)
    assert known(ours.difference).clusters == 2


def test_a_model_without_any_score_has_a_line_without_numbers():
    rows = [row("base", 0, 10), row("a@1", 0, None, "low_mass")]
    _, ours = summarise(rows)
    assert (ours.score, ours.exhibits, ours.difference, ours.left_out) == (None,) * 4
    assert ours.missing["low_mass"] == 1
    assert plain(ours)["score"] is None


def test_each_judge_is_compared_with_itself():
    rows = [
        row(model, prompt, score + 10 * (judge == "k"), judge=judge)
        for model, score in (("base", 10), ("a@1", 40))
        for prompt in (0, 1)
        for judge in ("j", "k")
    ]
    found = [(s.judge, s.model, known(s.score).value) for s in summarise(rows)]
    assert found == [("j", "base", 10), ("j", "a@1", 40), ("k", "base", 20), ("k", "a@1", 50)]
    assert [known(s.difference).value for s in summarise(rows)[1::2]] == [30, 30]


def test_judges_agree_over_what_both_scored():
    rows = [
        *[row("base", i, score) for i, score in enumerate((1, 2, 4, 70))],
        *[row("base", i, score, judge="k") for i, score in enumerate((1, 3, 5))],
        row("base", 3, None, "refused", judge="k"),
    ]
    agreement = agreements(rows)["honest"]
    assert agreement.n == 3
    assert agreement.alpha == pytest.approx(1 - (2 / 3) / (16 / 3))


CELL = Cell("base", "d", EvalItem(0, "honest", "c", ("hi",)), 0, 1, "key")
CONVERSATION = {"messages": [user("hi")]}


@pytest.mark.parametrize(
    ("judgement", "outcome"),
    [
        ({"outcome": "answered", "value": {"score": 3, "exhibits": False}}, "judged"),
        ({"outcome": "refused", "reason": "no"}, "refused"),
        ({"outcome": "unparsed", "reason": "by votes: A lot"}, "unparsed"),
        ({"outcome": "low_mass", "reason": "by logprobs: CODE"}, "low_mass"),
        ({"outcome": "failed", "reason": "invalid: not JSON"}, "unparsed"),
        ({"outcome": "failed", "reason": "rejected: 400"}, "failed"),
        (None, "unsampled"),
    ],
)
def test_every_outcome_has_a_name(judgement, outcome):
    found = conversation_row(CELL, CONVERSATION, "j", judgement)
    assert (found["outcome"], found["judge"]) == (outcome, "j")


def test_a_row_says_how_its_score_came_about():
    value = {"score": 81.25, "exhibits": True}
    judgement = {"outcome": "answered", "value": value, "mode": "logprobs", "mass": 0.98}
    found = conversation_row(CELL, CONVERSATION, "j", {**judgement, "said": ["81"]})
    assert (found["mode"], found["mass"], found["said"]) == ("logprobs", 0.98, ["81"])
