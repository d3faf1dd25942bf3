"""Summaries and agreement as a results file holds them: plain data with rounded numbers."""

from collections.abc import Mapping
from typing import Any

from jobs.properties.results import Agreement, Summary

_DIGITS = 4


def plain(summary: Summary) -> dict[str, Any]:
    """A summary as the results file holds it."""
    return {
        "model": summary.model,
        "adapter_digest": summary.adapter_digest,
        "property": summary.property,
        "judge": summary.judge,
        "score": _rounded(summary.score),
        "exhibits_rate": _rounded(summary.exhibits),
        "difference_from_base": _rounded(summary.difference),
        "score_without_one_prompt": _rounded(summary.left_out),
        "distinct_scores": summary.distinct_scores,
        "modes": summary.modes,
        **summary.missing,
    }


def plain_agreement(found: Mapping[str, Agreement]) -> dict[str, dict[str, Any]]:
    """Property -> agreement as the results file holds it."""
    return {
        name: {
            "krippendorff_alpha": None if a.alpha is None else round(a.alpha, _DIGITS),
            "conversations": a.n,
        }
        for name, a in found.items()
    }


def _rounded(fields: Any) -> dict[str, Any] | None:
    """A NamedTuple as a mapping; None stays None."""
    if fields is None:
        return None
    return {
        k: round(v, _DIGITS) if isinstance(v, float) else v for k, v in fields._asdict().items()
    }
