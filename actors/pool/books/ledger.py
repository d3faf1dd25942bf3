"""What runs and their study have spent, may have spent, and hold for calls in flight: arithmetic.

    spent      known costs
    presumed   bounds of attempts that may have been billed: a time-out, a worker that died
    reserved   bounds of attempts in flight

Amounts are whole nano-dollars: the sum of a million costs is exact, in any order.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

_NANO = 10**9
_DIGITS = 3  # of a nano-dollar; further ones are the rounding of binary fractions


def nano_up(usd: float) -> int:
    """Nano-dollars, rounded up: costs and bounds."""
    return math.ceil(round(usd * _NANO, _DIGITS))


def nano_down(usd: float) -> int:
    """Nano-dollars, rounded down: budgets."""
    return math.floor(round(usd * _NANO, _DIGITS))


def in_usd(nano: int) -> float:
    """Dollars."""
    return nano / _NANO


class Budgets(NamedTuple):
    """Nano-dollars at most; None is no limit."""

    run: int | None = None
    study: int | None = None


class Hold(NamedTuple):
    """What one call in flight stands for in the totals."""

    reserved: int = 0
    sunk: int = 0  # of earlier attempts; presumed until the call is closed


class Short(NamedTuple):
    """The budget that a call does not fit into."""

    budget: Literal["budget_usd", "study_budget_usd"]
    limit: int
    gone: int  # spent or presumed
    held: int  # reserved

    @property
    def for_good(self) -> bool:
        """Whether not even calls in flight that came for free would leave room."""
        return self.held == 0


@dataclass(slots=True)
class Totals:
    """Sums over calls."""

    spent: int = 0
    presumed: int = 0
    reserved: int = 0


class Ledger:
    """The totals of every run and of all together."""

    def __init__(self, runs: Mapping[str, Totals]) -> None:
        self.runs = dict(runs)
        self.moved: defaultdict[str, Totals] = defaultdict(Totals)  # by run, since it was made
        self.study = Totals(
            sum(t.spent for t in runs.values()),
            sum(t.presumed for t in runs.values()),
            sum(t.reserved for t in runs.values()),
        )

    def short(self, run: str, bound: int, budgets: Budgets) -> Short | None:
        """The budget that has no room for `bound` more, first one that never will; None: it fits.

        `held` is 0 where what calls in flight may give back does not help.
        """
        found = None
        own = self.runs.get(run, Totals())
        for name, limit, totals in (
            ("budget_usd", budgets.run, own),
            ("study_budget_usd", budgets.study, self.study),
        ):
            gone = totals.spent + totals.presumed
            if limit is None or gone + totals.reserved + bound <= limit:
                continue
            if gone + bound > limit:
                return Short(name, limit, gone, 0)
            found = found or Short(name, limit, gone, totals.reserved)
        return found

    def reserve(self, run: str, hold: Hold, bound: int) -> Hold:
        """Hold `bound` more for a call."""
        self._move(run, reserved=bound)
        return Hold(hold.reserved + bound, hold.sunk)

    def sink(self, run: str, hold: Hold, so_far: int | None) -> Hold:
        """The attempt in flight ended and may be billed: nothing of what it held comes back.

        `so_far` (all attempts) takes the place of what was held for them, where it is known.
        """
        sunk = hold.sunk + hold.reserved if so_far is None else so_far
        self._move(run, presumed=sunk - hold.sunk, reserved=-hold.reserved)
        return Hold(0, sunk)

    def settle(self, run: str, hold: Hold, cost: int, presumed: int) -> None:
        """A call is over; `cost` and `presumed` take the place of what was held for it."""
        self._move(run, cost, presumed - hold.sunk, -hold.reserved)

    def presume(self, run: str, hold: Hold) -> None:
        """Nobody will say what a call cost."""
        self._move(run, presumed=hold.reserved, reserved=-hold.reserved)

    def _move(self, run: str, spent: int = 0, presumed: int = 0, reserved: int = 0) -> None:
        for totals in (self.runs.setdefault(run, Totals()), self.study, self.moved[run]):
            totals.spent += spent
            totals.presumed += presumed
            totals.reserved += reserved
