"""What a mean rests on when one cluster is taken away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.stats.leave_one_out import LeftOut, leave_one_out


def test_by_hand():
    values, clusters = [10.0, 20.0, 90.0, 0.0], ["a", "a", "b", "c"]
    # without a: 90 / 2; without b: 30 / 3; without c: 120 / 3
    assert leave_one_out(values, clusters) == LeftOut(10.0, "b", 45.0, "a")


def test_a_finding_of_a_single_question_is_caught():
    values = [0.0] * 19 + [100.0]
    found = leave_one_out(values, range(20))
    assert found is not None
    assert (found.low, found.low_without) == (0.0, 19)


@pytest.mark.parametrize("clusters", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_clusters(clusters):
    assert leave_one_out([1.0] * len(clusters), clusters) is None


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 4)), min_size=1, max_size=20))
def test_against_the_definition(pairs):
    values, clusters = zip(*pairs, strict=True)
    found = leave_one_out(values, clusters)
    if len(set(clusters)) < 2:
        assert found is None
        return
    means = []
    for left_out in set(clusters):
        kept = [v for v, c in pairs if c != left_out]
        means.append(sum(kept) / len(kept))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((min(means), max(means)), abs=1e-6)
