"""Print a results file: one table per property and judge, and what the numbers rest on."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
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
_MISSING_AS = {"low_mass": "low mass", "unsampled": "not sampled"}


def report(results: Mapping[str, Any]) -> None:
    """Print the tables of a results file, and what the numbers rest on."""
    judge, summaries = results["judge"], results["summaries"]
    missing = [name for name in MISSING if name != "low_mass" or judge["score"] == "number"]
    for name, by in dict.fromkeys((s["property"], s["judge"]) for s in summaries):
        table = [s for s in summaries if (s["property"], s["judge"]) == (name, by)]
        title = f"{name}, judged by {by}" if len(judge["models"]) > 1 else name
        console.table(COLUMNS, [_cells(s, missing) for s in table], title=title, numbers=True)
    reasons = Counter(row["reason"] for row in results["rows"] if row.get("reason"))
    for reason, count in reasons.most_common(_REASONS_SHOWN):
        console.say(f"{count} missing: {reason}")
    for note in _notes(results):
        console.say(textwrap.fill(note, console.WIDTH))
    console.say("Brackets: 95 % intervals clustered by prompt; minus base is paired by prompt.")
    console.say(f"Missing: {'/'.join(_MISSING_AS.get(name, name) for name in missing)}.")


def _notes(results: Mapping[str, Any]) -> Iterator[str]:
    """What the scores are, how far judges agree, and whether one prompt makes a finding."""
    judge = results["judge"]
    yield (
        f"Score: 0-100, by judge {' and '.join(judge['models'])}{_modes(results)}, "
        f"rubric {_rubrics(judge['rubrics'])}. n: judged conversations/prompts."
    )
    for name, found in results.get("agreement", {}).items():
        alpha = found["krippendorff_alpha"]
        said = "cannot be told" if alpha is None else f"{alpha:.2f}"
        n = found["conversations"]
        yield f"Agreement on {name}: Krippendorff's alpha {said}, over {n} conversations."
    shift, place, prompt = max(_moves(results["summaries"]), default=(0.0, "", ""))
    if round(shift):
        yield f"One prompt left out moves a score by {shift:.0f} at most: {place}, prompt {prompt}."


def _modes(results: Mapping[str, Any]) -> str:
    """` (logprobs 58, votes 2)` where scores are bare numbers."""
    if results["judge"]["score"] == "verdict":
        return ""
    modes = Counter[str]()
    for summary in results["summaries"]:
        modes.update(summary["modes"])
    return f" ({', '.join(f'{mode} {count}' for mode, count in sorted(modes.items()))})"


def _rubrics(rubrics: Mapping[str, str]) -> str:
    """The hash of all properties' rubric, or of each."""
    if len(set(rubrics.values())) == 1:
        return next(iter(rubrics.values()))
    return ", ".join(f"{found} ({name})" for name, found in rubrics.items())


def _moves(summaries: list[Mapping[str, Any]]) -> Iterator[tuple[float, str, str]]:
    """How far each score moves at most when a prompt is left out, where, and which prompt."""
    for summary in summaries:
        left_out = summary["score_without_one_prompt"]
        if left_out is None:
            continue
        score, place = summary["score"]["value"], f"{summary['model']} on {summary['property']}"
        for end in ("low", "high"):
            yield abs(left_out[end] - score), place, str(left_out[f"{end}_without"])


def _cells(summary: Mapping[str, Any], missing: list[str]) -> list[str]:
    """A line of the printed table, from a summary as the file holds it."""
    score = summary["score"]
    return [
        summary["model"],
        _shown_digest(summary["adapter_digest"]),
        _interval(score, 1.0, ".0f"),
        _interval(summary["exhibits_rate"], 100.0, ".0f"),
        f"{score['n']}/{score['clusters']}" if score else "0",
        _interval(summary["difference_from_base"], 1.0, "+.0f"),
        "/".join(str(summary[outcome]) for outcome in missing),
    ]


def _shown_digest(digest: str) -> str:
    """The start of a digest, after the mark that says what it is of where that is no content."""
    mark, colon, hexadecimal = digest.rpartition(":")
    return f"{mark}{colon}{hexadecimal[:8]}"


def _interval(estimate: Mapping[str, Any] | None, scale: float, form: str) -> str:
    if estimate is None:
        return "-"
    value, low, high = (
        # Adding 0.0 after rounding turns -0 into 0.
        None if estimate[end] is None else format(round(scale * estimate[end]) + 0.0, form)
        for end in ("value", "low", "high")
    )
    return f"{value}" if low is None else f"{value} [{low}, {high}]"
