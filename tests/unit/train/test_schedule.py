"""The order of the data, and after which steps a run is saved and measured."""

from hypothesis import given
from hypothesis import strategies as st

from actors.train.schedule import Schedule

SCHEDULES = st.builds(
    Schedule,
    rows=st.integers(1, 40),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 5),
    save_every=st.integers(0, 9),
    validate_every=st.integers(0, 9),
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


@given(SCHEDULES)
def test_held_out_rows_are_measured_every_nth_step_or_epoch_and_at_the_end(schedule: Schedule):
    every = schedule.validate_every or schedule.steps_per_epoch
    due = [n for n in range(1, schedule.total_steps + 1) if n % every == 0]
    assert schedule.validation_points() == sorted({*due, schedule.total_steps})


@given(SCHEDULES)
def test_versions_count_the_save_points_and_a_stop_between_two_has_its_own(schedule: Schedule):
    points = schedule.save_points()
    assert [schedule.version(point) for point in points] == list(range(1, len(points) + 1))
    for step in range(1, schedule.total_steps):
        before = [point for point in points if point < step]
        assert schedule.version(step) == len(before) + 1
