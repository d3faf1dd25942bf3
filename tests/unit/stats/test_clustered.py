"""Clustered intervals against closed forms, and their invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jobs.stats.clustered import Estimate, clustered_mean, clustered_rate, paired_difference, wilson


def known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


numbers = st.floats(0, 100, allow_nan=False)


def test_singleton_clusters_give_the_ordinary_t_interval():
    values = [3.0, 5.0, 9.0, 1.0, 7.0]
    estimate = known(clustered_mean(values, range(5)))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert (estimate.n, estimate.clusters) == (5, 5)


def test_repeating_every_answer_does_not_narrow_the_interval():
    values, clusters = [3.0, 5.0, 9.0], ["a", "b", "c"]
    repeated = known(clustered_mean(values * 7, clusters * 7))
    assert repeated[:3] == pytest.approx(known(clustered_mean(values, clusters))[:3])


@given(st.lists(st.tuples(numbers, st.integers(0, 5)), min_size=1, max_size=30))
def test_the_mean_lies_in_its_interval(pairs):
    values, clusters = zip(*pairs, strict=True)
    estimate = known(clustered_mean(values, clusters))
    assert estimate.value == pytest.approx(np.mean(values))
    assert (estimate.low is None) == (estimate.clusters == 1)
    if estimate.low is not None and estimate.high is not None:
        assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_a_rate_s_interval_is_a_proper_one(pairs):
    hits, clusters = zip(*pairs, strict=True)
    estimate = known(clustered_rate(hits, clusters))
    if estimate.low is not None and estimate.high is not None:
        assert 0 <= estimate.low <= estimate.value + 1e-9
        assert estimate.value - 1e-9 <= estimate.high <= 1
        assert estimate.low < estimate.high


def test_wilson_against_scipy():
    expected = stats.binomtest(7, 20).proportion_ci(method="wilson")
    z = float(stats.norm.ppf(0.975))
    assert wilson(7 / 20, 20, z) == pytest.approx((expected.low, expected.high))


def test_no_hits_at_all_still_leave_room():
    estimate = known(clustered_rate([False] * 20, range(20)))
    assert estimate.value == 0
    assert estimate.high is not None
    assert 0.1 < estimate.high < 0.25


def test_paired_differences_use_only_shared_prompts():
    ours = {"a": [10.0, 20.0], "b": [30.0], "only ours": [99.0], "empty": []}
    base = {"a": [5.0], "b": [10.0], "only base": [1.0], "empty": [1.0]}
    estimate = known(paired_difference(ours, base))
    assert estimate.value == pytest.approx(15.0)
    assert (estimate.n, estimate.clusters) == (3, 2)
    half = stats.t.ppf(0.975, 1) * math.sqrt(np.var([10.0, 20.0], ddof=1) / 2)
    assert estimate.high is not None
    assert estimate.high - estimate.value == pytest.approx(half)
    assert paired_difference({"a": [1.0]}, {"b": [1.0]}) is None


def test_identical_answers_differ_by_nothing():
    answers = {i: [float(i)] for i in range(5)}
    estimate = known(paired_difference(answers, answers))
    assert estimate[:3] == (0, 0, 0)
