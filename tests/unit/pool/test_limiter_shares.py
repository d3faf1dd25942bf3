"""Max-min fair shares, in fractions and in whole numbers, over jobs and then over workers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.limiter.shares import in_whole, job_shares, max_min

WANTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0, 100), max_size=8)


@given(capacity=st.floats(0, 200), wants=WANTS)
def test_nobody_gets_less_than_who_gets_more_unless_content(capacity: float, wants):
    shares = max_min(capacity, wants)
    assert sum(shares.values()) <= capacity + 1e-6
    assert sum(shares.values()) == pytest.approx(min(capacity, sum(wants.values())))
    for name, share in shares.items():
        assert share <= wants[name]
        if share < wants[name] - 1e-6:
            assert all(other <= share + 1e-6 for other in shares.values())


@given(capacity=st.integers(0, 200), wants=WANTS, turn=st.integers(0, 100))
def test_whole_shares_are_next_to_the_exact_ones(capacity: int, wants, turn: int):
    exact = max_min(capacity, wants)
    whole = in_whole(capacity, exact, turn)
    assert sum(whole.values()) <= capacity
    assert all(abs(whole[name] - exact[name]) < 1 for name in exact)


def test_one_permit_goes_round():
    shares = max_min(1, {"a": 5, "b": 5, "c": 5})
    got = [in_whole(1, shares, turn) for turn in range(3)]
    assert all(sum(whole.values()) == 1 for whole in got)
    assert all(sum(whole[name] for whole in got) == 1 for name in shares)


def test_jobs_share_before_their_workers_do():
    wants = {"one": {"w": math.inf}, "many": {f"w{i}": math.inf for i in range(4)}}
    shares = job_shares(80, wants, {"one": math.inf, "many": math.inf})
    assert shares["one", "w"] == 40
    assert all(shares["many", f"w{i}"] == 10 for i in range(4))


def test_what_a_job_s_own_limit_leaves_goes_to_the_others():
    wants = {"small": {"w": 500.0}, "big": {"w": 500.0}}
    assert job_shares(100, wants, {"small": 8, "big": 200}) == {
        ("small", "w"): 8,
        ("big", "w"): 92,
    }
