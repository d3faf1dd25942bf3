"""The checkpoints of a run: PEFT directories at `<run folder>/checkpoints/step-000010`.

Beside the adapter each holds `trainer/`: the optimiser and the cursor, which is what a run needs
to go on. The adapter's config is written last, so a directory that reads back is whole; one that
a kill left half-written does not count and is written again. Where a service keeps the weights,
`remote.json` says where, is written last in the config's stead, and needs no adapter beside it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Generic, TypeVar

import fsspec

from actors.lm.adapter import CONFIG, MANIFEST, read_adapter
from actors.train.metrics import MetricsRow
from configs.errors import UserError

Row = TypeVar("Row", bound=MetricsRow)

CHECKPOINTS = "checkpoints"
REMOTE = "remote.json"
_CURSOR = "trainer/cursor.json"


@dataclass(frozen=True)
class Cursor(Generic[Row]):
    """Where a run stands: what was done, and the data that it was done on.

    The next batch is that of step `len(history)`, from 0.
    """

    history: list[Row]
    data_digest: str
    state: dict[str, Any] = field(default_factory=dict)  # what else the loop must remember


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint as it is shown: `loss` is the mean since the one before it that stands."""

    path: str
    step: int
    version: int
    digest: str
    loss: float | None  # None before any step
    validation_loss: float | None = None


def checkpoint_path(run_folder: str, step: int) -> str:
    """Where the checkpoint after `step` steps stands."""
    return f"{run_folder}/{CHECKPOINTS}/step-{step:06d}"


def step_of(path: str) -> int:
    """The number of steps that a checkpoint's path names."""
    return int(path.rpartition("-")[2])


def write_cursor(path: str, cursor: Cursor[Any]) -> None:
    """Write the cursor; comes before the file that closes the directory."""
    fs, root = fsspec.core.url_to_fs(path)
    fs.makedirs(f"{root}/trainer", exist_ok=True)
    fs.pipe_file(f"{root}/{_CURSOR}", json.dumps(asdict(cursor)).encode())


def read_cursor(path: str, row: type[Row]) -> Cursor[Row]:
    """The cursor of a whole checkpoint, its history in rows of the run's own kind."""
    told = _read_cursor(path)
    try:
        return Cursor([row(**fields) for fields in told.pop("history")], **told)
    except (KeyError, TypeError):
        raise _damaged(path) from None


def latest_checkpoint(run_folder: str) -> str | None:
    """The whole checkpoint with the most steps, None when there is none."""
    for path in reversed(_closed(run_folder)):
        if _is_remote(path):
            return path
        try:
            read_adapter(path)
        except UserError:
            continue  # cut short by a kill: no adapter yet, or not all of it
        return path
    return None


def saved_checkpoints(run_folder: str) -> list[SavedCheckpoint]:
    """Every checkpoint of a run in the order of their steps."""
    saved: list[SavedCheckpoint] = []
    for path in _closed(run_folder):
        fs, root = fsspec.core.url_to_fs(path)
        manifest = json.loads(fs.cat_file(f"{root}/{MANIFEST}"))
        since = saved[-1].step if saved else 0
        rows = _read_cursor(path)["history"]
        losses = [row["loss"] for row in rows[since:]]
        saved.append(
            SavedCheckpoint(
                path,
                manifest["step"],
                manifest["version"],
                manifest["digest"],
                loss=fmean(losses) if losses else None,
                validation_loss=rows[-1].get("validation_loss") if rows else None,
            )
        )
    return saved


def prune(run_folder: str, keep_last: int, newest: int, losses: Mapping[int, float]) -> None:
    """Remove all checkpoints but the last `keep_last` (0: all) up to `newest`, and the best.

    The best has the lowest of `losses`, which holds what was measured after some of the steps.
    What an earlier try left after `newest`, the step just kept, is not counted: it may be damaged.
    """
    if not keep_last:
        return
    closed = [path for path in _closed(run_folder) if step_of(path) <= newest]
    measured = {p: losses[step] for p in closed if (step := step_of(p)) in losses}
    kept = {*closed[-keep_last:], *([min(measured, key=lambda p: measured[p])] if measured else [])}
    for path in _all(run_folder):
        if path not in kept and step_of(path) < newest:
            _remove(path)


def _read_cursor(path: str) -> dict[str, Any]:
    fs, root = fsspec.core.url_to_fs(path)
    try:
        return json.loads(fs.cat_file(f"{root}/{_CURSOR}"))
    except (FileNotFoundError, json.JSONDecodeError):
        raise _damaged(path) from None


def _damaged(path: str) -> UserError:
    return UserError(f"{path}: {_CURSOR} is missing or damaged; remove the directory.")


def _remove(path: str) -> None:
    """Open it first: a kill in the middle leaves a directory that does not count."""
    fs, root = fsspec.core.url_to_fs(path)
    for name in (REMOTE, CONFIG):
        if fs.exists(f"{root}/{name}"):
            fs.rm_file(f"{root}/{name}")
    fs.rm(root, recursive=True)


def _all(run_folder: str) -> list[str]:
    """Directories by step, whole or not; paths in the form of `run_folder`."""
    fs, root = fsspec.core.url_to_fs(f"{run_folder}/{CHECKPOINTS}")
    names = sorted(path.rstrip("/").split("/")[-1] for path in fs.glob(f"{root}/step-*"))
    return [f"{run_folder}/{CHECKPOINTS}/{name}" for name in names]


def _closed(run_folder: str) -> list[str]:
    """Directories whose last file is there, by step."""
    return [path for path in _all(run_folder) if _holds_json(path, CONFIG) or _is_remote(path)]


def _is_remote(path: str) -> bool:
    return _holds_json(path, REMOTE)


def _holds_json(path: str, name: str) -> bool:
    fs, root = fsspec.core.url_to_fs(path)
    try:
        json.loads(fs.cat_file(f"{root}/{name}"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True
