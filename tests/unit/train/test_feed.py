"""What the driver hears of a run: every step once and in order, every failure."""

from hypothesis import given
from hypothesis import strategies as st
from small_training import some_step

from actors.train.metrics import MetricsRow
from actors.train.on_ray.feed import Feed, News, Sender
from configs.errors import JobFailed, UserError


def test_steps_that_are_done_again_after_a_failure_are_left_out():
    feed = Feed()
    for numbers in ([1, 2], [3], [1, 2], [3, 4], [4]):
        feed.push([some_step(number) for number in numbers])
    assert [metrics.step for metrics in feed.news(0, 0).steps] == [1, 2, 3, 4]
    assert [metrics.step for metrics in feed.news(3, 0).steps] == [4]


def test_steps_that_came_out_otherwise_are_told_and_none_twice():
    feed = Feed()
    nan = float("nan")
    first = [some_step(1), some_step(2), some_step(3, tokens=11, loss=nan)]
    for steps in (first, [some_step(1), some_step(2, tokens=7, tokens_per_s=3.0)], first[2:]):
        feed.push(steps)
    told = [(row.step, row.fields()["tokens"]) for row in feed.news(0, 0).steps]
    assert told == [(1, 10), (2, 10), (3, 11), (2, 7)]
    feed.push([some_step(2, tokens=7, tokens_per_s=9.0, memory_mb=1.0)])
    assert not feed.news(4, 0).steps


def test_failures_are_told_in_their_order():
    feed = Feed()
    for message in ("one", "two"):
        feed.failed(message)
    assert feed.news(0, 0) == News([], ["one", "two"])
    assert feed.news(0, 1) == News([], ["two"])


def test_the_newest_note_is_told():
    feed = Feed()
    for note in ("one", "two"):
        feed.note(note)
    assert feed.news(0, 0).note == "two"


def test_the_first_error_that_ends_a_run_is_kept():
    feed = Feed()
    assert feed.fault() is None
    feed.give_up(JobFailed("The disk is full."))
    feed.give_up(UserError("Something else."))
    assert isinstance(feed.fault(), JobFailed)
    assert feed.news(0, 0).fault is feed.fault()


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=40))
def test_steps_that_come_fast_travel_together_and_none_is_lost(pauses_s: list[float]):
    sent: list[list[MetricsRow]] = []
    now_s = 0.0
    with Sender(sent.append, clock=lambda: now_s) as sender:
        for number, pause_s in enumerate(pauses_s):
            now_s += pause_s
            sender.add(some_step(number + 1))
        sender.flush()
    assert [m.step for steps in sent for m in steps] == list(range(1, len(pauses_s) + 1))
    assert all(sent)
    assert len(sent) <= 2 + now_s / 0.25
