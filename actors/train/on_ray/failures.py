"""What the driver is told when workers fail, and the error that a job ends with."""

import contextlib
from collections.abc import Mapping
from typing import Any

import ray
import ray.train
from ray.train import UserCallback

from configs.errors import JobFailed, UserError

_AGAIN = "Its checkpoints are kept, and the same command continues it."


class TellFailures(UserCallback):
    """Tells the feed of failed workers, from Ray Train's controller."""

    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Called each time that Ray Train finds failed workers."""
        for rank, error in sorted(worker_exceptions.items()):
            if not isinstance(error, (UserError, JobFailed)):
                self._feed.failed.remote(f"Worker {rank} failed: {reason(error)}")


def reason(error: Exception) -> str:
    """One line about a worker's failure."""
    cause = getattr(error, "health_check_failure", error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else ''}"


def told(error: Exception, feed: Any, max_failures: int) -> UserError | JobFailed:
    """The error that a job ends with after Ray's `error`."""
    with contextlib.suppress(ray.exceptions.RayError):  # the feed may have ended as well
        if fault := ray.get(feed.fault.remote()):
            return fault
    if isinstance(error, ray.train.WorkerGroupError):
        reasons = "\n".join(
            f"Worker {rank}: {reason(e)}" for rank, e in error.worker_failures.items()
        )
        return JobFailed(
            f"Training failed more than max_failures={max_failures} times. {_AGAIN} "
            f"The last failure:\n{reasons}"
        )
    return JobFailed(f"Ray Train could not go on. {_AGAIN} It says:\n{error}")
