"""What the workers tell the driver while they train: a small Ray actor in between.

Workers print nothing; the driver asks the feed for new steps and shows them as it likes.
"""

import threading
from collections.abc import Callable
from typing import Any

import ray

from actors.train.metrics import StepMetrics

_POLL_S = 0.25


class Feed:
    """Steps in the order they were done, and the input error that ended the run."""

    def __init__(self) -> None:
        self._steps: list[StepMetrics] = []
        self._fault: str | None = None

    def push(self, metrics: StepMetrics) -> None:
        """Add a step; one that was done before (and is done again after a failure) is left out."""
        if metrics.step == len(self._steps) + 1:
            self._steps.append(metrics)

    def since(self, step: int) -> list[StepMetrics]:
        """The steps after `step`."""
        return self._steps[step:]

    def give_up(self, message: str) -> None:
        """A worker met an error of the user's: trying again cannot help."""
        self._fault = self._fault or message

    def fault(self) -> str | None:
        """The message of `give_up`."""
        return self._fault


def start_feed() -> Any:
    """A new feed; it ends with the driver."""
    return ray.remote(num_cpus=0)(Feed).remote()


class Follower:
    """Calls `on_step` for every step of a feed, from a thread, while open; none is missed."""

    def __init__(self, feed: Any, on_step: Callable[[StepMetrics], None]) -> None:
        self._feed, self._on_step = feed, on_step
        self._seen = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training-feed", daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._catch_up()

    def _run(self) -> None:
        while not self._closing.wait(_POLL_S):
            self._catch_up()

    def _catch_up(self) -> None:
        for metrics in ray.get(self._feed.since.remote(self._seen)):
            self._on_step(metrics)
            self._seen = metrics.step
