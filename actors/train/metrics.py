"""What a step of training says about itself, and the file that keeps it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.store.storage import Storage


@dataclass(frozen=True)
class StepMetrics:
    """One step. `loss` is per target token of the global batch; padding is counted nowhere."""

    step: int  # steps done, this one included
    epoch: float  # passes over the data done
    loss: float
    tokens: int
    target_tokens: int
    learning_rate: float
    grad_norm: float  # before clipping
    tokens_per_s: float


OnStep = Callable[[StepMetrics], None]


class MetricsFile:
    """`metrics.jsonl` of a run: one line per step, each step once however often a run continues.

    On a disk a line is there as soon as its step is done; on an object store, which cannot
    append, the file appears when the run is finished.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name = storage, name
        self._rows: list[str] = []
        self._last_step = 0
        if storage.exists(name):
            self._take_over(storage.read(name).decode())

    def add(self, metrics: StepMetrics) -> None:
        """Append a step; one that is there already (computed again after a kill) is left out."""
        if metrics.step <= self._last_step:
            return
        self._last_step = metrics.step
        line = json.dumps(asdict(metrics)) + "\n"
        self._rows.append(line)
        if self._storage.is_local:
            path = Path(self._storage.path(self._name))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)

    def close(self) -> None:
        """The run is finished."""
        if not self._storage.is_local and not self._storage.exists(self._name):
            self._storage.write_new(self._name, "".join(self._rows).encode())

    def _take_over(self, text: str) -> None:
        whole, _, cut = text.rpartition("\n")
        if whole:
            self._last_step = json.loads(whole.rpartition("\n")[2])["step"]
        if cut:  # a process was killed while it wrote this line
            with Path(self._storage.path(self._name)).open("r+b") as file:
                file.truncate(len(text.encode()) - len(cut.encode()))
