"""Means, rates and paired differences with 95 % intervals clustered by prompt.

Answers to one prompt resemble each other: treating them as independent makes intervals too narrow,
up to three times. The unit that was drawn at random is the prompt, so it is the cluster.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

Key = TypeVar("Key", bound=Hashable)


class Estimate(NamedTuple):
    """A value with its interval; `low` and `high` are None where it cannot be told (one cluster).

    n counts observations, clusters counts prompts.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate | None:
    """Mean of `values` with a cluster-robust t interval; None without values.

    var = G / (G - 1) * sum_g (sum_{i in g} (x_i - mean))^2 / n^2, t with G - 1 degrees of freedom
    (Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", 2015).
    """
    if not values:
        return None
    x = np.asarray(values, dtype=float)
    groups = _indices(clusters)
    n, count = len(x), int(groups.max()) + 1
    mean = float(x.mean())
    if count < 2:
        return Estimate(mean, None, None, n, count)
    half = _t(count) * _standard_error(x, groups, count)
    return Estimate(mean, mean - half, mean + half, n, count)


def clustered_rate(hits: Sequence[bool], clusters: Sequence[Hashable]) -> Estimate | None:
    """Share of hits with a Wilson interval on the effective sample size; None without hits.

    n_eff = p (1 - p) / var, with the clustered variance, never above n, and the number of clusters
    where p is 0 or 1 (Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial
    Proportions in Clustered Surveys", 2015).
    """
    if not hits:
        return None
    x = np.asarray(hits, dtype=float)
    groups = _indices(clusters)
    n, count = len(x), int(groups.max()) + 1
    p = float(x.mean())
    if count < 2:
        return Estimate(p, None, None, n, count)
    variance = _standard_error(x, groups, count) ** 2
    effective = min(float(n), p * (1 - p) / variance) if variance > 0 else float(count)
    low, high = wilson(p, effective, _t(count))
    return Estimate(p, low, high, n, count)


def wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval for a proportion p of n (Wilson, 1927)."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(
    ours: Mapping[Key, Sequence[float]], base: Mapping[Key, Sequence[float]]
) -> Estimate | None:
    """Mean over the prompts that both answered of (ours - base), with a t interval over prompts.

    Each mapping goes from prompt to the values of its answers. n counts the values of ours that
    entered. None where no prompt has both.
    """
    shared = [p for p in ours if base.get(p) and ours[p]]
    if not shared:
        return None
    differences = [float(np.mean(ours[p])) - float(np.mean(base[p])) for p in shared]
    estimate = clustered_mean(differences, range(len(shared)))
    assert estimate is not None
    return estimate._replace(n=sum(len(ours[p]) for p in shared))


def _indices(clusters: Sequence[Hashable]) -> np.ndarray:
    """Clusters as 0 .. G-1."""
    index: dict[Hashable, int] = {}
    return np.array([index.setdefault(cluster, len(index)) for cluster in clusters])


def _standard_error(x: np.ndarray, groups: np.ndarray, count: int) -> float:
    sums = np.bincount(groups, weights=x - x.mean(), minlength=count)
    return math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(x)


def _t(clusters: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, clusters - 1))
