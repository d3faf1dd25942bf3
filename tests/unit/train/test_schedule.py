"""The order of the data, the save points and the learning rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.train.schedule import Schedule, linear_rate

SCHEDULES = st.builds(
    Schedule,
    rows=st.integers(1, 40),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 5),
    save_every=st.integers(0, 9),
)


@given(SCHEDULES)
def test_every_epoch_visits_every_row_once(schedule: Schedule):
    for epoch in range(schedule.epochs):
        first = epoch * schedule.steps_per_epoch
        steps = range(first, first + schedule.steps_per_epoch)
        assert sorted(row for s in steps for row in schedule.batch(s)) == list(range(schedule.rows))


def test_epochs_have_orders_of_their_own_and_seeds_too():
    schedule = Schedule(rows=20, epochs=2, batch_size=20, seed=0)
    assert schedule.batch(0) == Schedule(20, 2, 20, seed=0).batch(0)
    assert len({tuple(o) for o in (schedule.batch(0), schedule.batch(1))}) == 2
    assert schedule.batch(0) != Schedule(20, 2, 20, seed=1).batch(0)


@given(SCHEDULES)
def test_save_points_hold_the_ends_of_epochs_and_every_nth_step(schedule: Schedule):
    points = schedule.save_points()
    assert points == sorted(set(points))
    assert points[-1] == schedule.total_steps
    for step in range(1, schedule.total_steps + 1):
        due = step % schedule.steps_per_epoch == 0
        due |= bool(schedule.save_every) and step % schedule.save_every == 0
        assert (step in points) == due


def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    rates = [linear_rate(step, total_steps=10, warmup_steps=4) for step in range(10)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[-1] == pytest.approx(1 / 6)


@given(st.integers(1, 60), st.integers(0, 80))
def test_the_rate_is_a_share_above_zero(total_steps: int, warmup_steps: int):
    rates = [linear_rate(step, total_steps, warmup_steps) for step in range(total_steps)]
    assert all(0 < rate <= 1 for rate in rates)
