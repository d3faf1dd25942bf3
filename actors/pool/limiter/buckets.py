"""A token bucket: so much a second on average, a little more at once, debts where they must be."""

import math


class TokenBucket:
    """Fills at `rate_per_s` up to `burst`; the clock is the caller's, in seconds."""

    def __init__(self, rate_per_s: float, burst: float, now_s: float, level: float) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._level, self._at_s = min(level, burst), now_s

    def reshape(self, rate_per_s: float, burst: float, now_s: float) -> None:
        """Another rate from now on; what is in the bucket stays, as far as it still fits."""
        self._fill(now_s)
        self._rate_per_s, self._burst = rate_per_s, burst
        self._level = min(self._level, burst)

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` is there; more than ever fits waits for a full bucket."""
        self._fill(now_s)
        missing = min(amount, self._burst) - self._level
        # A billionth is rounding: a caller that waited as told must find what it waited for.
        if missing <= 1e-9 * self._burst:
            return 0.0
        return missing / self._rate_per_s if self._rate_per_s > 0 else math.inf

    def spend(self, amount: float, now_s: float) -> None:
        """Take `amount` (negative: put it back) whether it is there or not."""
        self._fill(now_s)
        self._level = min(self._level - amount, self._burst)

    def take(self, amount: float, now_s: float) -> bool:
        """Take `amount` if it is there."""
        if self.wait_s(amount, now_s) > 0:
            return False
        self.spend(amount, now_s)
        return True

    def _fill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self._at_s)
        self._level = min(self._burst, self._level + elapsed_s * self._rate_per_s)
        self._at_s = max(now_s, self._at_s)
