"""How much a mean rests on a single cluster: a finding that one question makes is none."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple


class LeftOut(NamedTuple):
    """The lowest and the highest mean with one cluster left out, and the cluster that was."""

    low: float
    low_without: Hashable
    high: float
    high_without: Hashable


def leave_one_out(values: Sequence[float], clusters: Sequence[Hashable]) -> LeftOut | None:
    """The range of the mean of `values` when each cluster in turn is left out.

    None with fewer than two clusters: nothing would be left.
    """
    sums: dict[Hashable, float] = {}
    counts: dict[Hashable, int] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value
        counts[cluster] = counts.get(cluster, 0) + 1
    if len(sums) < 2:
        return None
    total, n = sum(sums.values()), len(values)
    means = {cluster: (total - sums[cluster]) / (n - counts[cluster]) for cluster in sums}
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    return LeftOut(means[low], low, means[high], high)
