"""What the driver is told when workers fail, and the error that a job ends with."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import ray.train
from ray.train import UserCallback
from ray.train.v2._internal.exceptions import WorkerHealthCheckTimeoutError

from configs.errors import JobFailed

_AGAIN = "Its checkpoints are kept, and the same command continues it."
_WIDTH = 400


class TellFailures(UserCallback):
    """Tells the feed of failed workers, each once, from Ray Train's controller."""

    def __init__(self, feed: Any) -> None:
        self._feed = feed
        self._told: set[str] = set()

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Ray Train looked at its workers and found that these had failed."""
        for rank, error in sorted(worker_exceptions.items()):
            known = str(error)  # with the process's number where a process ended
            if known in self._told:
                continue
            self._told.add(known)
            self._feed.failed.remote(f"Worker {rank} failed: {reason(error)}")


def reason(error: Exception) -> str:
    """One line about a worker's failure."""
    if isinstance(error, WorkerHealthCheckTimeoutError):
        return "its process did not answer for hang_timeout_s."
    cause = getattr(error, "health_check_failure", error)
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return shorten(f"{type(cause).__name__}: {lines[-1] if lines else ''}", _WIDTH)


def told(error: Exception, max_failures: int) -> JobFailed:
    """The error that a job ends with after Ray's `error`."""
    if isinstance(error, ray.train.WorkerGroupError):
        reasons = [f"Worker {rank}: {reason(e)}" for rank, e in error.worker_failures.items()]
        return JobFailed(
            f"Training failed more than max_failures={max_failures} times. {_AGAIN} "
            "The last failure:\n" + "\n".join(reasons)
        )
    return JobFailed(f"Ray Train could not go on. {_AGAIN} It says:\n{error}")
