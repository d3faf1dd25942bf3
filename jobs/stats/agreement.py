"""How far judges agree on the same things, beyond what chance would make them agree."""

from collections.abc import Sequence


def krippendorff_alpha(units: Sequence[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for interval data: 1 is agreement, 0 is what chance gives.

    alpha = 1 - D_o / D_e, where D_o is the mean squared difference between values of the same unit,
    each unit weighted by its number of values, and D_e that between all values of all units
    (Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011).

    Args:
        units: the values that each unit (a conversation, say) was given, one by each judge that
            gave one; units with fewer than two values say nothing.

    Returns:
        None where no unit has two values, or all values are the same: nothing varies, so nothing
        can be agreed on.
    """
    paired = [unit for unit in units if len(unit) > 1]
    pooled = [value for unit in paired for value in unit]
    n = len(pooled)
    expected = _squared_differences(pooled) / (n * (n - 1)) if n else 0.0
    if expected == 0:
        return None
    observed = sum(_squared_differences(unit) / (len(unit) - 1) for unit in paired) / n
    return 1 - observed / expected


def _squared_differences(values: Sequence[float]) -> float:
    """Sum of (a - b)^2 over all ordered pairs."""
    mean = sum(values) / len(values)
    return 2 * len(values) * sum((value - mean) ** 2 for value in values)
