"""Workers of Ray Train with a fault planted in them; each runs the real worker otherwise.

A fault happens once in a run: a file in the run's folder remembers it.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ray.train

from actors.train.metrics import StepMetrics
from actors.train.on_ray import worker
from actors.train.on_ray.worker import Assignment
from actors.train.on_torch.process import run_sft


def killed_after_every_save(assignment: Assignment) -> None:
    """End by kill -9 as soon as a checkpoint is whole and Ray knows of it."""
    original = worker._report

    def report(path: str, metrics: StepMetrics) -> None:
        original(path, metrics)
        if _first(assignment, f"killed-{metrics.step}"):
            os.kill(os.getpid(), signal.SIGKILL)

    worker._report = report
    worker.work(assignment)


def blocked_then_stopped(assignment: Assignment) -> None:
    """The third step blocks for ever, and the fifth stops the whole process."""

    def fault(step: int) -> None:
        if step == 2 and _first(assignment, "blocked"):
            threading.Event().wait()
        if step == 4 and _first(assignment, "stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)

    _after_steps(fault)
    worker.work(assignment)


def last_rank_stopped(assignment: Assignment) -> None:
    """The last rank stops after two steps; the others wait for it."""
    context = ray.train.get_context()

    def fault(step: int) -> None:
        last = context.get_world_rank() == context.get_world_size() - 1
        if step == 2 and last and _first(assignment, "stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)

    _after_steps(fault)
    worker.work(assignment)


def slow(assignment: Assignment) -> None:
    """A tenth of a second more in every step."""
    _after_steps(lambda step: time.sleep(0.1))
    worker.work(assignment)


def _after_steps(fault: Callable[[int], None]) -> None:
    """Have `fault` called with the number of every step that this process did itself."""

    def run(*args: object, on_step: Callable[[StepMetrics], None], **fields: object) -> None:
        def stepped(metrics: StepMetrics) -> None:
            on_step(metrics)
            fault(metrics.step)

        run_sft(*args, on_step=stepped, **fields)  # type: ignore[arg-type]

    worker.run_sft = run


def _first(assignment: Assignment, name: str) -> bool:
    """Whether this has not happened in the run yet; from now on it has."""
    mark = Path(assignment.folder) / name
    if mark.exists():
        return False
    mark.touch()
    return True
