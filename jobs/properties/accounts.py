"""What a run's calls came to and what they cost, for its output files and for people."""

from collections.abc import Mapping
from typing import Any

from actors.pool.books.client import Spent
from actors.store.records import Records
from configs.errors import BudgetReached


def account(records: Records, spent: Spent) -> dict[str, Any]:
    """What the calls of a run came to, by stage, and what they cost: fields of an output file.

    The cost is the books': all tries of the run, answers that were of no use included.
    """
    outcomes: dict[str, dict[str, int]] = {}
    for row in records:
        stage = outcomes.setdefault(row["stage"], {})
        stage[row["outcome"]] = stage.get(row["outcome"], 0) + 1
    return {"outcomes": outcomes, **costs(spent)}


def costs(spent: Spent) -> dict[str, float]:
    """What a run has cost, and what it may have cost beside that: fields of an output file."""
    known = {"cost_usd": round(spent.run_usd, 6)}
    presumed = {"presumed_usd": round(spent.run_presumed_usd, 6)}
    return {**known, **(presumed if spent.run_presumed_usd else {})}


def account_line(written: Mapping[str, Any]) -> str:
    """The same for people: `prompts 5 answered, 1 refused; examples 50 answered; $0.0100`."""
    stages = [
        f"{stage} " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        for stage, counts in written["outcomes"].items()
    ]
    presumed = written.get("presumed_usd")
    beside = f" (and up to ${presumed:.4f} for calls of unknown end)" if presumed else ""
    return "; ".join([*stages, f"${written['cost_usd']:.4f}{beside}"])


def budget_reached(
    reached: BudgetReached, stage: str, stored: int, total: int, spent: Spent
) -> BudgetReached:
    """The end of a run whose budget is used up: what is stored, what was spent, how to go on."""
    presumed = spent.run_presumed_usd
    beside = f", and up to ${presumed:.4f} for calls of unknown end" if presumed else ""
    return BudgetReached(
        f"{stage}: {stored} of {total} calls are stored; the run has cost ${spent.run_usd:.4f}"
        f"{beside}. {reached}"
    )
