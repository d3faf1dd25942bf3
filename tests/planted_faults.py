"""Workers of Ray Train with faults planted in them; each runs the real worker otherwise."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from actors.train.metrics import OnStep, StepMetrics
from actors.train.on_ray import worker
from actors.train.on_ray.worker import Assignment
from actors.train.on_torch.process import run_sft


def ended_at_every_save_point(assignment: Assignment) -> None:
    """Killed after the checkpoints of steps 2 and 4, blocked for ever after that of step 3.

    Each once in a run: a file in its folder remembers it.
    """
    report = worker._report

    def reported(path: str, metrics: StepMetrics) -> None:
        report(path, metrics)
        mark = Path(assignment.folder) / f"fault-{metrics.step}"
        if metrics.step in FAULTS and not mark.exists():
            mark.touch()
            FAULTS[metrics.step]()

    worker._report = reported
    worker.work(assignment)


def slow_while_there_are_two_nodes(assignment: Assignment) -> None:
    """A quarter of a second more in every step, until a file `gone` is in the run's folder."""

    def run(*args: object, on_step: OnStep, **fields: object) -> None:
        def stepped(metrics: StepMetrics) -> None:
            on_step(metrics)
            if not (Path(assignment.folder) / "gone").exists():
                time.sleep(0.25)

        run_sft(*args, on_step=stepped, **fields)  # type: ignore[arg-type]

    worker.run_sft = run
    worker.work(assignment)


FAULTS: dict[int, Callable[[], object]] = {
    2: lambda: os.kill(os.getpid(), signal.SIGKILL),
    3: lambda: threading.Event().wait(),
    4: lambda: os.kill(os.getpid(), signal.SIGKILL),
}
