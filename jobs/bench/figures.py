"""Figures of a bench: what is measured, what is to be reached, and the row that comes of it."""

import operator
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    "=": operator.eq,
}


class Reach(NamedTuple):
    """What a figure is to come to."""

    sign: Literal[">=", "<=", "<", "="]
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a value reaches it."""
        return _COMPARE[self.sign](value, self.bound)

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


class Skipped(Exception):
    """Why figures cannot be measured on this machine."""


class Figure(NamedTuple):
    """One number of a bench."""

    name: str  # for `only=`
    what: str  # for people, its unit or its ratio included
    reach: Reach | None = None  # None: it is reported
    digits: int = 2


class Trial(NamedTuple):
    """One measurement of a group's figures."""

    values: dict[str, float]  # by the figure's name
    said: str  # the absolute numbers behind them, for the progress line


class Group(NamedTuple):
    """Figures that one measurement gives together."""

    figures: tuple[Figure, ...]
    measure: Callable[[Any], Trial]  # its argument: what the bench has opened


class Row(NamedTuple):
    """What came of one figure."""

    figure: Figure
    value: float  # the median
    low: float
    high: float

    @property
    def holds(self) -> bool | None:
        """Whether the median reaches what is to be reached; None where nothing is."""
        return None if self.figure.reach is None else self.figure.reach.holds(self.value)

    def plain(self) -> dict[str, Any]:
        """The row as plain data."""
        reach = None if self.figure.reach is None else str(self.figure.reach)
        return {
            "figure": self.figure.name,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "reach": reach,
            "holds": self.holds,
        }


def summary(figure: Figure, values: Sequence[float]) -> Row:
    """The row of a figure that was measured once or more."""
    return Row(figure, median(values), min(values), max(values))


def selected(groups: Sequence[Group], only: Sequence[str]) -> list[Group]:
    """The groups with the figures that `only` names; all of them where it names none."""
    if not only:
        return list(groups)
    kept = [
        group._replace(figures=tuple(f for f in group.figures if f.name in only))
        for group in groups
    ]
    return [group for group in kept if group.figures]
