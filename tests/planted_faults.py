"""Workers of Ray Train with faults planted in them; each runs the real worker otherwise."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ray.train

from actors.lm.adapter import Manifest
from actors.train.metrics import MetricsRow, OnRow
from actors.train.on_ray import worker
from actors.train.on_ray.worker import Assignment
from actors.train.on_torch import backend


class Place(NamedTuple):
    """Where in a run a worker is."""

    when: str
    step: int
    rank: int


def ended_in_many_ways(assignment: Assignment) -> None:
    """Meets every one of `FAULTS` once in a run: a file in its folder remembers it."""
    _work(assignment, FAULTS)


def leader_killed(assignment: Assignment) -> None:
    """The first rank is killed between two checkpoints, while others, if any, wait for its word."""
    _work(assignment, {Place("computed", 3, rank=0): _die})


def _work(assignment: Assignment, faults: Mapping[Place, Callable[[], object]]) -> None:
    rank = ray.train.get_context().get_world_rank()

    def meet(when: str, step: int) -> None:
        mark = Path(assignment.folder) / f"fault-{when}-{step}-{rank}"
        if (fault := faults.get(Place(when, step, rank))) and not mark.exists():
            mark.touch()
            fault()

    def run(*, on_step: OnRow, on_saved: Callable[[str, Any], None], **fields: Any) -> None:
        def stepped(metrics: MetricsRow) -> None:
            on_step(metrics)
            meet("computed", metrics.step)

        def saved(path: str, metrics: MetricsRow) -> None:
            on_saved(path, metrics)
            meet("saved", metrics.step)

        assignment.program(on_step=stepped, on_saved=saved, **fields)

    write = backend.write_adapter

    def write_adapter(path: str, config: Any, tensors: Any, manifest: Manifest) -> None:
        meet("half written", manifest.step)
        write(path, config, tensors, manifest)

    backend.write_adapter = write_adapter
    worker.work(assignment._replace(program=run))


def slow_while_there_are_two_nodes(assignment: Assignment) -> None:
    """A quarter of a second more in every step, until a file `gone` is in the run's folder."""

    def run(*, on_step: OnRow, **fields: Any) -> None:
        def stepped(metrics: MetricsRow) -> None:
            on_step(metrics)
            if not (Path(assignment.folder) / "gone").exists():
                time.sleep(0.25)

        assignment.program(on_step=stepped, **fields)

    worker.work(assignment._replace(program=run))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    threading.Event().wait()


FAULTS: dict[Place, Callable[[], object]] = {
    Place("saved", 2, rank=0): _die,
    Place("saved", 3, rank=0): _hang,  # both: whichever ends itself first stood here
    Place("saved", 3, rank=1): _hang,
    Place("computed", 5, rank=1): _die,  # no save point; the other is left in an all-reduce
    Place("half written", 6, rank=0): _die,
}
