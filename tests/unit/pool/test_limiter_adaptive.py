"""What 429s teach: opening, one cut per episode, growth back to the ceiling, measured rates."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.limiter.adaptive import Adaptive
from actors.pool.limiter.ceiling import Ceiling

MOST = 1024
STEP_S = 0.025


def saturated(adaptive: Adaptive, from_s: float, duration_s: float) -> float:
    """Time with all permits in use and calls waiting; the time after it."""
    now_s = from_s
    while now_s < from_s + duration_s:
        now_s += STEP_S
        adaptive.advance(adaptive.in_flight(MOST), 100, MOST, MOST, now_s)
    return now_s


def cut(adaptive: Adaptive, now_s: float, in_flight: int = 100) -> None:
    adaptive.rate_limited(in_flight, MOST, now_s)


def test_it_opens_by_doubling_while_calls_wait():
    adaptive = Adaptive(0.0)
    before = adaptive.in_flight(MOST)
    saturated(adaptive, 0.0, 1.0)
    assert adaptive.in_flight(MOST) == pytest.approx(4 * before, rel=0.3)
    saturated(adaptive, 1.1, 6.0)
    assert adaptive.in_flight(MOST) == MOST
    assert adaptive.per_s(MOST) is None


def test_without_calls_that_wait_it_does_not_open():
    adaptive = Adaptive(0.0)
    before = adaptive.in_flight(MOST)
    for step in range(100):
        adaptive.advance(before, 0, MOST, MOST, step * STEP_S)
    assert adaptive.in_flight(MOST) == before


def test_a_cut_keeps_most_and_pauses_briefly():
    adaptive = Adaptive(0.0)
    saturated(adaptive, 0.0, 2.0)
    cut(adaptive, 3.0, in_flight=100)
    assert adaptive.in_flight(MOST) == 80
    assert 0 < adaptive.learned(3.0).paused_s < 1
    assert adaptive.epoch == 2


def test_it_comes_back_to_its_ceiling_fast_and_goes_beyond_it_slowly():
    ceiling = Ceiling(100.0, kept=0.8, back_s=1.0)
    values = [ceiling.later(t / 4).value for t in range(9)]
    assert values[0] == pytest.approx(80)
    assert values[4] == pytest.approx(100)
    rises = [b - a for a, b in pairwise(values)]
    assert rises[0] > 5 * rises[3]
    assert rises[7] > 5 * rises[4]


@given(kept=st.floats(0.5, 0.95), back_s=st.floats(0.5, 5), steps=st.lists(st.floats(0, 3)))
def test_a_ceiling_never_falls_with_time(kept: float, back_s: float, steps):
    ceiling = Ceiling(10.0, kept, back_s)
    for elapsed_s in steps:
        later = ceiling.later(elapsed_s)
        assert later.value >= ceiling.value * (1 - 1e-9)
        ceiling = later


def test_5xx_pause_growth_and_cut_nothing():
    adaptive = Adaptive(0.0)
    cut(adaptive, 0.1)
    now_s = saturated(adaptive, 0.2, 0.5)
    before = adaptive.in_flight(MOST)
    adaptive.server_error(now_s)
    saturated(adaptive, now_s, 0.8)
    assert adaptive.in_flight(MOST) == before
    saturated(adaptive, now_s + 1.1, 3.0)
    assert adaptive.in_flight(MOST) > before


def test_the_rate_does_not_grow_while_a_job_s_own_limit_is_what_holds_calls_back():
    adaptive, now_s = Adaptive(0.0), 0.2
    cut(adaptive, 0.1)
    before = adaptive.per_s(MOST)
    for _ in range(100):
        now_s += STEP_S
        adaptive.advance(50, 100, 50, MOST, now_s)
    assert adaptive.per_s(MOST) == before
    for _ in range(100):
        now_s += STEP_S
        adaptive.advance(50, 100, 150, MOST, now_s)
    assert (adaptive.per_s(MOST) or 0.0) > (before or 0.0)


def test_the_rate_is_measured_between_429s():
    adaptive, now_s = Adaptive(0.0), 0.3
    adaptive.count(400, 0, 0)  # a burst that says nothing of the rate
    cut(adaptive, now_s)
    for _ in range(100):
        now_s += 0.05
        adaptive.count(2, 0, 0)
        adaptive.advance(1, 50, MOST, MOST, now_s)
    cut(adaptive, now_s)
    assert adaptive._learned.per_s is not None
    assert adaptive._learned.per_s.height == pytest.approx(40, rel=0.02)


def test_a_pause_lets_nobody_send_and_has_a_bound():
    adaptive = Adaptive(0.0)
    adaptive.pause(5.0, 10.0)
    adaptive.pause(1.0, 10.0)
    assert adaptive.learned(12.0).paused_s == pytest.approx(3)
    adaptive.pause(1e9, 20.0)
    assert adaptive.learned(20.0).paused_s < 600


@given(gaps=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=200))
def test_no_storm_takes_the_last_permit_and_quiet_brings_the_rest_back(gaps):
    adaptive, now_s = Adaptive(0.0), 0.0
    for gap_s in gaps:
        now_s += gap_s
        adaptive.count(1, 1, 0)
        adaptive.advance(1, 50, MOST, MOST, now_s)
        cut(adaptive, now_s, in_flight=1)
        assert adaptive.in_flight(MOST) >= 1
        assert (adaptive.per_s(MOST) or 1.0) > 0
    low = adaptive.in_flight(MOST)
    saturated(adaptive, now_s + 1, 10.0)
    assert adaptive.in_flight(MOST) > 4 * low


def test_idleness_forgets_slowly():
    def after_idle(idle_s: float) -> Adaptive:
        adaptive = Adaptive(0.0)
        adaptive.advance(50, 10, MOST, MOST, 0.9)
        cut(adaptive, 1.0, in_flight=50)
        adaptive.advance(50, 10, MOST, MOST, 1.05)
        adaptive.advance(1, 10, MOST, MOST, 1.05 + idle_s)
        return adaptive

    assert after_idle(20)._learned.opening is None
    assert after_idle(20).in_flight(MOST) > after_idle(1).in_flight(MOST)
    assert after_idle(600)._learned.opening is not None


def test_what_was_learned_can_be_taken_over():
    first = Adaptive(0.0)
    cut(first, 1.0, in_flight=40)
    first.pause(4.0, 1.0)
    second = Adaptive(500.0)
    second.recall(first.learned(2.0), 500.0)
    assert second.in_flight(MOST) == first.in_flight(MOST)
    assert second.learned(500.0) == first.learned(2.0)
