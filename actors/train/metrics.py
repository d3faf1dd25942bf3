"""What a step of training says about itself, and the file that keeps it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

from actors.store.storage import Storage
from configs.errors import JobFailed


class MetricsRow(Protocol):
    """What any kind of training says about a step."""

    @property
    def step(self) -> int:
        """Steps done, this one included."""
        ...

    def fields(self) -> dict[str, Any]:
        """Name -> value, without what this step did not measure."""
        ...


@dataclass(frozen=True)
class StepMetrics:
    """One step. Losses are per target token; padding is counted nowhere."""

    step: int  # steps done, this one included
    epoch: float  # passes over the data done
    loss: float  # of the global batch
    tokens: int
    target_tokens: int
    learning_rate: float
    grad_norm: float | None  # before clipping
    tokens_per_s: float
    memory_mb: float  # of the first rank's process; on a GPU, the most that its tensors took there
    validation_loss: float | None = None  # of the held-out rows, after steps that measure it

    def fields(self) -> dict[str, Any]:
        """Name -> value, without what this step did not measure."""
        return {name: value for name, value in asdict(self).items() if value is not None}


OnStep = Callable[[StepMetrics], None]
OnRow = Callable[[Any], None]  # is given the rows of whatever is trained


def process_memory_mb() -> float:
    """What this process holds in megabytes, as `StepMetrics.memory_mb` counts it."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e6
    return psutil.Process().memory_info().rss / 1e6


def best_validation(history: Sequence[StepMetrics]) -> StepMetrics | None:
    """The step with the lowest validation loss, the first of equals; None before any."""
    measured = [row for row in history if row.validation_loss is not None]
    return min(measured, key=lambda row: row.validation_loss or 0.0, default=None)


def validation_losses(history: Sequence[StepMetrics]) -> dict[int, float]:
    """Step -> validation loss, of the steps that have one."""
    losses = {row.step: row.validation_loss for row in history}
    return {step: loss for step, loss in losses.items() if loss is not None}


def lost_patience(history: Sequence[StepMetrics], patience: int) -> bool:
    """Whether the last `patience` validations brought no better loss than one before; 0 never."""
    if not patience:
        return False
    best = best_validation(history)
    if best is None:
        return False
    since = sum(row.validation_loss is not None for row in history[best.step :])
    return since >= patience


class Told:
    """Which rows are news: a step that was done again is, where it came out otherwise.

    Rollouts that are sampled ahead of the trainer, or on GPUs, are others the second time.
    """

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def is_news(self, fields: Mapping[str, Any]) -> bool:
        """Whether a row says what is not known; then it is."""
        told = repr([fields.get(name) for name in ("tokens", "reward", "alarms")])
        news = self._known.get(fields["step"]) != told
        self._known[fields["step"]] = told
        return news


class MetricsFile:
    """`metrics.jsonl` of a run: a line per step, however often a run continues.

    A step that was done again and came out otherwise has another line; the last one counts.
    On a disk a line is there as soon as its step is done; on an object store, which cannot
    append, the file appears when the run is finished.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name = storage, name
        self._rows: list[str] = []
        self._told = Told()
        self.last_step = 0  # the newest that is there
        if storage.exists(name):
            self._take_over(storage.read(name).decode())

    def add(self, metrics: MetricsRow) -> bool:
        """Append a step; False for one that is there already (computed again after a kill)."""
        fields = metrics.fields()
        if not self._told.is_news(fields):
            return False
        line = json.dumps(fields) + "\n"
        if self._storage.is_local:
            self._append(line)
        self._rows.append(line)
        self.last_step = max(self.last_step, metrics.step)
        return True

    def close(self) -> None:
        """The run is finished."""
        if not self._storage.is_local and not self._storage.exists(self._name):
            self._storage.write_new(self._name, "".join(self._rows).encode())

    def _append(self, line: str) -> None:
        path = Path(self._storage.path(self._name))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise JobFailed(
                f"{path} cannot be written: {error.strerror or error}. The checkpoints are kept: "
                "make room, and the same command continues the run."
            ) from None

    def _take_over(self, text: str) -> None:
        whole, _, cut = text.rpartition("\n")
        for line in whole.splitlines():
            fields = json.loads(line)
            self._told.is_news(fields)
            self.last_step = max(self.last_step, fields["step"])
        if cut:  # a process was killed while it wrote this line
            with Path(self._storage.path(self._name)).open("r+b") as file:
                file.truncate(len(text.encode()) - len(cut.encode()))
