"""What the workers tell the driver while they train: a small Ray actor in between.

Workers print nothing; the driver asks the feed for news and shows them as it likes.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.train.metrics import MetricsRow, OnRow, Told
from configs.errors import JobFailed, UserError

_POLL_S = _SEND_S = 0.25


class News(NamedTuple):
    """What came in since the driver asked last."""

    steps: list[MetricsRow]
    failures: list[str]
    fault: UserError | JobFailed | None = None  # that ends the run
    note: str = ""  # the newest


class Feed:
    """Steps in the order they were done, failed workers, and how the run ended."""

    def __init__(self) -> None:
        self._steps: list[MetricsRow] = []
        self._told = Told()
        self._failures: list[str] = []
        self._fault: UserError | JobFailed | None = None
        self._note = ""

    def push(self, steps: Sequence[MetricsRow]) -> None:
        """Add steps; those that are done again after a failure only where they are news."""
        self._steps += [metrics for metrics in steps if self._told.is_news(metrics.fields())]

    def failed(self, message: str) -> None:
        """A worker failed; training goes on if it may."""
        self._failures.append(message)

    def note(self, note: str) -> None:
        """What is done now that is no step."""
        self._note = note

    def news(self, steps: int, failures: int) -> News:
        """What came in after so many steps and failures."""
        return News(self._steps[steps:], self._failures[failures:], self._fault, self._note)

    def give_up(self, fault: UserError | JobFailed) -> None:
        """A worker met an error that trying again cannot mend."""
        self._fault = self._fault or fault

    def fault(self) -> UserError | JobFailed | None:
        """The error of `give_up`."""
        return self._fault


def start_feed() -> Any:
    """A new feed, on this node: it ends with the driver, and with no other node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Feed).options(num_cpus=0, scheduling_strategy=here).remote()


class Sender:
    """Sends the steps of one worker, several in a message when they come fast; all by its end.

    A message a step would cost a small model percents of its time.
    """

    def __init__(
        self,
        send: Callable[[list[MetricsRow]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send, self._clock = send, clock
        self._waiting: list[MetricsRow] = []
        self._sent_s = float("-inf")

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, metrics: MetricsRow) -> None:
        """Send a step now, or with those after it."""
        self._waiting.append(metrics)
        if self._clock() - self._sent_s >= _SEND_S:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            self._send(self._waiting)
            self._waiting, self._sent_s = [], self._clock()


class Follower:
    """Calls back for all news of a feed, from a thread, while open; none is missed.

    An error that a worker gave up with, or one of a callback, stops the run at once and is raised
    where the block ends.
    """

    def __init__(
        self,
        feed: Any,
        on_step: OnRow,
        on_failure: Callable[[str], None],
        stop: Callable[[], None],
        on_note: Callable[[str], None] = lambda note: None,
    ) -> None:
        self._feed, self._on_step, self._on_failure = feed, on_step, on_failure
        self._stop, self._on_note, self._note = stop, on_note, ""
        self._steps = self._failures = 0
        self._error: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training-feed", daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        if self._error is None:
            self._catch_up()
        elif kind is None or issubclass(kind, Exception):
            raise self._error from None  # what ended the block came of the stop

    def _run(self) -> None:
        try:
            while not self._closing.wait(_POLL_S):
                self._catch_up()
        except Exception as error:
            self._error = error
            self._stop()

    def _catch_up(self) -> None:
        news: News = ray.get(self._feed.news.remote(self._steps, self._failures))
        if news.note != self._note:
            self._note = news.note
            self._on_note(news.note)
        for metrics in news.steps:
            self._steps += 1
            self._on_step(metrics)
        for message in news.failures:
            self._failures += 1
            self._on_failure(message)
        if news.fault:
            raise news.fault
