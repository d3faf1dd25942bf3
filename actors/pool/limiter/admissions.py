"""How fast an endpoint lets calls in, measured between its 429s.

A token bucket is empty whenever it answers 429. So what it let in between two of them, divided by
the time between, is its rate: no burst that was saved up before, nothing left over after.
"""

from collections import deque
from typing import NamedTuple

_WINDOW_S = 10.0
_ENOUGH = 20  # calls between two marks, for an error of 5 %
_SOME = 4  # fewer than these say nothing
_SLACK_S = 1.0  # of sending less than would have been let in: a bucket may be full after it


class Measured(NamedTuple):
    """Calls a second, and whether enough of them were counted to rely on it."""

    per_s: float
    is_sure: bool


class Admissions:
    """Counts of calls let in; the marks are the moments at which a 429 came."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._total = 0
        self._marks: deque[tuple[float, int]] = deque()
        self._slack_s = 0.0

    def add(self, sent: int, rate_limited: int, late: int) -> None:
        """Calls sent and 429s; `late` of these were sent before the mark. All else is let in."""
        self._total += sent - rate_limited
        if self._marks and late:
            then_s, total = self._marks[-1]
            self._marks[-1] = then_s, total - late

    def mark(self, now_s: float) -> Measured | None:
        """A 429 came: the rate between the 429s so far, None where it cannot be known yet."""
        found = None
        # The nearest past that holds enough calls: the limit may have changed before it.
        for then_s, total in reversed(self._marks):
            calls = self._total - total
            if calls >= _SOME and now_s > then_s:
                found = Measured(calls / (now_s - then_s), calls >= _ENOUGH)
            if calls >= _ENOUGH:
                break
        self._slack_s = 0.0
        self._marks.append((now_s, self._total))
        while self._marks[0][0] < now_s - _WINDOW_S and len(self._marks) > 1:
            self._marks.popleft()
        return found

    def slack(self, elapsed_s: float) -> None:
        """For so long something else than the rate held calls back."""
        self._slack_s += elapsed_s
        if self._slack_s > _SLACK_S:
            self._marks.clear()

    def per_s(self, now_s: float) -> float:
        """Calls a second since the start, a burst included."""
        return self._total / max(now_s - self._since_s, 1e-3)

    @property
    def is_measuring(self) -> bool:
        """Whether an earlier 429 is there to measure from."""
        return bool(self._marks)

    @property
    def none_since_mark(self) -> bool:
        """Whether nothing at all was let in since the last 429."""
        return bool(self._marks) and self._marks[-1][1] >= self._total
