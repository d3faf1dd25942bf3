"""Learning rates against their closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.train.rates import ScheduleName, rate_share, warmup_length

NAMES = st.sampled_from(["linear", "cosine", "constant"])


def rates(name: ScheduleName, total_steps: int, warmup_steps: int) -> list[float]:
    return [rate_share(name, step, total_steps, warmup_steps) for step in range(total_steps)]


@given(NAMES, st.integers(1, 60), st.integers(0, 80))
def test_the_rate_is_a_share_above_zero(name: ScheduleName, total_steps: int, warmup_steps: int):
    assert all(0 < rate <= 1 for rate in rates(name, total_steps, warmup_steps))


@given(NAMES, st.integers(1, 60), st.integers(0, 59))
def test_it_rises_by_equal_parts_to_the_peak_and_never_again(
    name: ScheduleName, total_steps: int, warmup_steps: int
):
    warmup_steps = min(warmup_steps, total_steps - 1)
    got = rates(name, total_steps, warmup_steps)
    rising = [(i + 1) / (warmup_steps + 1) for i in range(warmup_steps + 1)]
    assert got[: warmup_steps + 1] == pytest.approx(rising)
    assert got[warmup_steps] == 1
    assert got[warmup_steps:] == sorted(got[warmup_steps:], reverse=True)


def test_the_schedules_at_the_quarters_of_what_follows_the_warmup():
    def at_quarters(name: ScheduleName) -> list[float]:
        return rates(name, total_steps=12, warmup_steps=4)[4::2]

    assert at_quarters("linear") == pytest.approx([1, 3 / 4, 1 / 2, 1 / 4])
    half = math.sqrt(2) / 2
    assert at_quarters("cosine") == pytest.approx([1, (1 + half) / 2, 1 / 2, (1 - half) / 2])
    assert at_quarters("constant") == [1, 1, 1, 1]


def test_a_warmup_is_a_number_of_steps_or_a_share_of_all():
    assert warmup_length(5, None, total_steps=40) == 5
    assert warmup_length(5, 0.1, total_steps=40) == 4
    assert warmup_length(5, 0.0, total_steps=40) == 0
    assert warmup_length(5, 0.03, total_steps=100) == 3
