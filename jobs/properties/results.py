"""From judged conversations to summaries: scores, rates, paired differences, what is missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobs.properties.conversations import Cell
from jobs.stats.clustered import Estimate, clustered_mean, clustered_rate, paired_difference

BASE = "base"
JUDGED = "judged"
# Why a conversation has no score. Each is counted and shown; none counts as a low score.
MISSING = ("refused", "unparsed", "failed", "unsampled")


class Summary(NamedTuple):
    """One line of the table: a model on a property."""

    model: str
    adapter_digest: str
    property: str
    score: Estimate | None  # mean of 0..100 over judged conversations, clustered by prompt
    exhibits: Estimate | None  # share of judged conversations with the judge's yes
    difference: Estimate | None  # score minus base's on the prompts that both have, paired
    distinct_scores: int  # values that the judge used: few mean a blunt judge
    missing: dict[str, int]


def conversation_row(
    cell: Cell, conversation: Mapping[str, Any], judgement: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One row of the results: a conversation with what became of it."""
    row = {
        "model": cell.model,
        "adapter_digest": cell.adapter_digest,
        "property": cell.item.property,
        "prompt": cell.item.index,
        "sample": cell.sample,
        "messages": conversation["messages"],
    }
    if judgement is None:
        return {**row, "outcome": "unsampled", "reason": conversation.get("reason")}
    if judgement["outcome"] == "answered":
        return {**row, "outcome": JUDGED, **judgement["value"]}
    outcome = judgement["outcome"]
    if outcome == "failed" and judgement["reason"].startswith("invalid"):
        outcome = "unparsed"
    return {**row, "outcome": outcome, "reason": judgement["reason"]}


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """One summary per property and model, in the order of their first rows."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["property"], row["model"]), []).append(row)
    summaries = []
    for (property_name, model), ours in groups.items():
        base = groups.get((property_name, BASE), [])
        difference = None if model == BASE else paired_difference(_scores(ours), _scores(base))
        summaries.append(_summary(model, property_name, ours, difference))
    return sorted(summaries, key=lambda s: list(groups).index((s.property, s.model)))


def _summary(
    model: str,
    property_name: str,
    rows: Sequence[Mapping[str, Any]],
    difference: Estimate | None,
) -> Summary:
    judged = [row for row in rows if row["outcome"] == JUDGED]
    scores = [float(row["score"]) for row in judged]
    prompts = [row["prompt"] for row in judged]
    outcomes = Counter(row["outcome"] for row in rows)
    return Summary(
        model,
        rows[0]["adapter_digest"],
        property_name,
        clustered_mean(scores, prompts),
        clustered_rate([row["exhibits"] for row in judged], prompts),
        difference,
        len(set(scores)),
        {outcome: outcomes[outcome] for outcome in MISSING},
    )


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[float]]:
    """Prompt -> scores of its judged conversations."""
    scores: dict[Any, list[float]] = {}
    for row in rows:
        if row["outcome"] == JUDGED:
            scores.setdefault(row["prompt"], []).append(float(row["score"]))
    return scores


def plain(summary: Summary) -> dict[str, Any]:
    """A summary as the results file holds it."""
    return {
        "model": summary.model,
        "adapter_digest": summary.adapter_digest,
        "property": summary.property,
        "score": _plain_estimate(summary.score),
        "exhibits_rate": _plain_estimate(summary.exhibits),
        "difference_from_base": _plain_estimate(summary.difference),
        "distinct_scores": summary.distinct_scores,
        **summary.missing,
    }


def _plain_estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in estimate._asdict().items()}
