"""Print a results file: one table per property, and what its numbers rest on."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jobs import console
from jobs.properties.results import MISSING

_REASONS_SHOWN = 3
COLUMNS = [
    "model",
    "digest",
    "score",
    "exhibits %",
    "n",
    "minus base",
    "missing",
]


def report(results: Mapping[str, Any]) -> None:
    """Print the tables of a results file, one per property, and what the numbers rest on."""
    summaries = results["summaries"]
    for name in dict.fromkeys(summary["property"] for summary in summaries):
        rows = [_cells(summary) for summary in summaries if summary["property"] == name]
        console.table(COLUMNS, rows, title=name, numbers=True)
    reasons = Counter(row["reason"] for row in results["rows"] if row.get("reason"))
    for reason, count in reasons.most_common(_REASONS_SHOWN):
        console.say(f"{count} missing: {reason}")
    judge = results["judge"]
    console.say(
        f"Score: 0-100, by judge {judge['model']}, rubric {judge['rubric_hash']}. "
        "n: judged conversations/prompts."
    )
    console.say("Brackets: 95 % intervals clustered by prompt; minus base is paired by prompt.")
    console.say("Missing: refused/unparsed/failed/not sampled.")


def _cells(summary: Mapping[str, Any]) -> list[str]:
    """A line of the printed table, from a summary as the file holds it."""
    missing = "/".join(str(summary[outcome]) for outcome in MISSING)
    score = summary["score"]
    return [
        summary["model"],
        summary["adapter_digest"][:8],
        _interval(score, 1.0, ".0f"),
        _interval(summary["exhibits_rate"], 100.0, ".0f"),
        f"{score['n']}/{score['clusters']}" if score else "0",
        _interval(summary["difference_from_base"], 1.0, "+.0f"),
        missing,
    ]


def _interval(estimate: Mapping[str, Any] | None, scale: float, form: str) -> str:
    if estimate is None:
        return "-"
    value, low, high = (
        # Adding 0.0 after rounding turns -0 into 0.
        None if estimate[end] is None else format(round(scale * estimate[end]) + 0.0, form)
        for end in ("value", "low", "high")
    )
    return f"{value}" if low is None else f"{value} [{low}, {high}]"
