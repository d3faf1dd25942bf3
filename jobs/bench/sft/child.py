"""A side's process: say ready, then train one line of work after another, and say what it took.

The model is loaded anew for every work. Memory is counted from there to the highest point, which
the kernel keeps (`VmHWM`, `proc(5)`) and is asked to forget first.
"""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from transformers.utils import logging

from configs.base import Config
from jobs.bench.sft.work import Measured, Start, Work
from jobs.bench.side import READY

Loaded = TypeVar("Loaded")
Training = Callable[[], list[float]]  # trains; the loss of every step


def serve(
    load: Callable[[Start], Loaded], prepare: Callable[[Start, Loaded, Work], Training]
) -> None:
    """Measure the work that comes in. `prepare` is not on the clock."""

    def measured(start: Start, work: Work) -> Measured:
        loaded = load(start)
        memory = _Peak(start.device)
        return _measured(prepare(start, loaded, work), memory)

    answer(measured)


def answer(work_done: Callable[[Start, Work], Config]) -> None:
    """Say ready, then what comes of every line of work, until there is no more."""
    start = Start.model_validate_json(sys.argv[1])
    logging.disable_progress_bar()
    print(READY, flush=True)
    for line in sys.stdin:
        answered = work_done(start, Work.model_validate_json(line))
        print(answered.model_dump_json(), flush=True)


def touch(model: torch.nn.Module, device: str) -> None:
    """A small pass without gradients: weights that are mapped from files are read then."""
    with torch.no_grad():
        model(input_ids=torch.arange(8, device=device)[None])


def _measured(train: Training, memory: "_Peak") -> Measured:
    gc.collect()
    cpu_s, started_s = time.process_time(), time.perf_counter()
    losses = train()
    return Measured(
        cpu_s=time.process_time() - cpu_s,
        wall_s=time.perf_counter() - started_s,
        losses=losses,
        peak_mb=memory.mb(),
    )


class _Peak:
    """The most memory since it was made, beyond what there was then, in MB of 10^6 bytes."""

    def __init__(self, device: str) -> None:
        self._on_cpu = device == "cpu"
        gc.collect()
        if self._on_cpu:
            Path("/proc/self/clear_refs").write_text("5")
            self._began_mb = _status_mb("VmRSS")
        else:
            torch.cuda.reset_peak_memory_stats()
            self._began_mb = torch.cuda.memory_allocated() / 1e6

    def mb(self) -> float:
        """What it came to."""
        highest_mb = (
            _status_mb("VmHWM") if self._on_cpu else torch.cuda.max_memory_allocated() / 1e6
        )
        return highest_mb - self._began_mb


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024 / 1e6
    raise RuntimeError(f"/proc/self/status has no {field}")
