"""What the endpoint was asked and billed: independent books, to check a client against."""

from collections import Counter
from typing import Any


class Counts:
    """Counted since the start or the last reset."""

    def __init__(self) -> None:
        self.asked = 0
        self._outcomes: Counter[str] = Counter()
        self._billed_calls = 0
        self._billed_usd = 0.0
        self._digests: set[bytes] = set()

    def ask(self, content_digest: bytes) -> int:
        """Count a request that came in; its ordinal, from 0."""
        self._digests.add(content_digest)
        self.asked += 1
        return self.asked - 1

    def answer(self, outcome: str, billed_usd: float | None) -> None:
        """Count how a request ended (an HTTP status, `reset` or `stall`), and what it cost."""
        self._outcomes[outcome] += 1
        if billed_usd is not None:
            self._billed_calls += 1
            self._billed_usd += billed_usd

    @property
    def billed_usd(self) -> float:
        """Dollars billed."""
        return self._billed_usd

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `GET /admin/counts`.

        `asked`: requests received. `answered`: those that got a whole reply. `distinct`: different
        request bodies, byte by byte. `by_status`: replies by HTTP status, plus `reset` and `stall`.
        """
        cut = self._outcomes["reset"] + self._outcomes["stall"]
        return {
            "asked": self.asked,
            "answered": self._outcomes.total() - cut,
            "distinct": len(self._digests),
            "billed": {"calls": self._billed_calls, "cost_usd": self._billed_usd},
            "by_status": {name: count for name, count in self._outcomes.items() if count},
        }
