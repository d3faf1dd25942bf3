"""From judged conversations to summaries: scores, rates, paired differences, what is missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobs.properties.conversations import Cell
from jobs.stats.agreement import krippendorff_alpha
from jobs.stats.clustered import Estimate, clustered_mean, clustered_rate, paired_difference
from jobs.stats.leave_one_out import LeftOut, leave_one_out

BASE = "base"
JUDGED = "judged"
# Why a conversation has no score. Each is counted and shown; none counts as a low score.
MISSING = ("refused", "unparsed", "low_mass", "failed", "unsampled")
# How a judgement came about, where it is known.
_HOW = ("mode", "schema_mode", "mass", "said")

Row = Mapping[str, Any]


class Summary(NamedTuple):
    """One line of a table: a model on a property, by one judge."""

    model: str
    adapter_digest: str
    property: str
    judge: str
    score: Estimate | None  # mean of 0..100 over judged conversations, clustered by prompt
    exhibits: Estimate | None  # share of judged conversations with the judge's yes
    difference: Estimate | None  # score minus base's on the prompts that both have, paired
    left_out: LeftOut | None  # range of the score's mean when each prompt in turn is left out
    distinct_scores: int  # whole numbers that the judge used: few mean a blunt judge
    modes: dict[str, int]  # judged conversations by how their score came about
    missing: dict[str, int]


class Agreement(NamedTuple):
    """How far the judges of a property agree."""

    alpha: float | None  # Krippendorff's, of scores as interval data
    n: int  # conversations with the scores of two judges or more


def conversation_row(
    cell: Cell, conversation: Row, judge: str, judgement: Row | None
) -> dict[str, Any]:
    """One row of the results: a conversation with what became of it before one judge."""
    row = {
        "model": cell.model,
        "adapter_digest": cell.adapter_digest,
        "property": cell.item.property,
        "prompt": cell.item.index,
        "sample": cell.sample,
        "messages": conversation["messages"],
        "judge": judge,
    }
    if judgement is None:
        return {**row, "outcome": "unsampled", "reason": conversation.get("reason")}
    how = {name: judgement[name] for name in _HOW if judgement.get(name) is not None}
    outcome = judgement["outcome"]
    if outcome == "answered":
        return {**row, "outcome": JUDGED, **judgement["value"], **how}
    if outcome == "failed" and judgement["reason"].startswith("invalid"):
        outcome = "unparsed"
    return {**row, "outcome": outcome, "reason": judgement["reason"], **how}


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One summary per property, judge and model: a judge's together, in order of first rows."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["property"], row["judge"], row["model"]), []).append(row)
    summaries = []
    for (name, judge, model), ours in groups.items():
        base = groups.get((name, judge, BASE), [])
        difference = None if model == BASE else paired_difference(_scores(ours), _scores(base))
        summaries.append(_summary(ours, difference))
    tables = list(dict.fromkeys((row["property"], row["judge"]) for row in rows))
    return sorted(summaries, key=lambda summary: tables.index((summary.property, summary.judge)))


def _summary(rows: Sequence[Row], difference: Estimate | None) -> Summary:
    judged = [row for row in rows if row["outcome"] == JUDGED]
    scores = [float(row["score"]) for row in judged]
    prompts = [row["prompt"] for row in judged]
    outcomes = Counter(row["outcome"] for row in rows)
    return Summary(
        rows[0]["model"],
        rows[0]["adapter_digest"],
        rows[0]["property"],
        rows[0]["judge"],
        clustered_mean(scores, prompts),
        clustered_rate([row["exhibits"] for row in judged], prompts),
        difference,
        leave_one_out(scores, prompts),
        len({round(score) for score in scores}),
        dict(Counter(row["mode"] for row in judged)),
        {outcome: outcomes[outcome] for outcome in MISSING},
    )


def _scores(rows: Sequence[Row]) -> dict[Any, list[float]]:
    """Prompt -> scores of its judged conversations."""
    scores: dict[Any, list[float]] = {}
    for row in rows:
        if row["outcome"] == JUDGED:
            scores.setdefault(row["prompt"], []).append(float(row["score"]))
    return scores


def agreements(rows: Sequence[Row]) -> dict[str, Agreement]:
    """Property -> agreement of its judges over the conversations of all models."""
    units: dict[str, dict[tuple[Any, ...], list[float]]] = {}
    for row in rows:
        if row["outcome"] == JUDGED:
            conversation = (row["model"], row["prompt"], row["sample"])
            unit = units.setdefault(row["property"], {}).setdefault(conversation, [])
            unit.append(float(row["score"]))
    return {
        name: Agreement(
            krippendorff_alpha(list(scores.values())),
            sum(len(unit) > 1 for unit in scores.values()),
        )
        for name, scores in units.items()
    }
