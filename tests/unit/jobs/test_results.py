"""The table's numbers from hand-made rows: denominators, pairs, and what is missing."""

import pytest

from actors.lm.messages import user
from jobs.properties.conversations import Cell
from jobs.properties.prompt_file import EvalItem
from jobs.properties.results import conversation_row, summarise
from jobs.stats.clustered import Estimate


def known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def row(model: str, prompt: int, score: int | None, outcome: str = "judged", sample: int = 0):
    fields = {
        "model": model,
        "adapter_digest": model * 2,
        "property": "honest",
        "prompt": prompt,
        "sample": sample,
        "outcome": outcome,
    }
    return fields if score is None else {**fields, "score": score, "exhibits": score >= 50}


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
    assert ours.missing == {"refused": 1, "unparsed": 0, "failed": 0, "unsampled": 0}
    assert known(ours.difference).value == pytest.approx(60)
    assert known(ours.difference).clusters == 2


def test_a_model_without_any_score_has_a_line_without_numbers():
    rows = [row("base", 0, 10), row("a@1", 0, None, "failed")]
    _, ours = summarise(rows)
    assert (ours.score, ours.exhibits, ours.difference) == (None, None, None)
    assert ours.missing["failed"] == 1


CELL = Cell("base", "d", EvalItem(0, "honest", "c", ("hi",)), 0, 1, "key")
CONVERSATION = {"messages": [user("hi")]}


@pytest.mark.parametrize(
    ("judgement", "outcome"),
    [
        ({"outcome": "answered", "value": {"score": 3, "exhibits": False}}, "judged"),
        ({"outcome": "refused", "reason": "no"}, "refused"),
        ({"outcome": "failed", "reason": "invalid: not JSON"}, "unparsed"),
        ({"outcome": "failed", "reason": "rejected: 400"}, "failed"),
        (None, "unsampled"),
    ],
)
def test_every_outcome_has_a_name(judgement, outcome):
    assert conversation_row(CELL, CONVERSATION, judgement)["outcome"] == outcome
