"""Memory of where a 429 came, and how to climb from just below it, as CUBIC does (RFC 9438).

After the cut the value rises fast and flattens out at the old ceiling, rests there, and then rises
ever faster. CUBIC goes on so for ever; here twice the old ceiling is the end of what the past can
teach, and from there the value doubles every second, so that a long outage is soon forgotten.
"""

from typing import NamedTuple

_FORGOTTEN = 2.0  # times the ceiling
_DOUBLING_S = 1.0


class Ceiling(NamedTuple):
    """A value that once was too high: `kept` of it after the cut, all of it `back_s` later."""

    height: float
    kept: float
    back_s: float
    clean_s: float = 0.0  # since the cut; only time that shows something counts

    @property
    def value(self) -> float:
        """What may be tried now."""
        lost = 1 - self.kept
        away = (self.clean_s - self.back_s) / self.back_s
        share = 1 + lost * away**3
        if share <= _FORGOTTEN:
            return self.height * share
        forgotten_s = self.back_s * (1 + ((_FORGOTTEN - 1) / lost) ** (1 / 3))
        doublings = min((self.clean_s - forgotten_s) / _DOUBLING_S, 40.0)
        return self.height * _FORGOTTEN * 2**doublings

    def later(self, elapsed_s: float) -> "Ceiling":
        """The same after more clean time."""
        return self._replace(clean_s=self.clean_s + elapsed_s)
