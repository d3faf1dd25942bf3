"""The checkpoints of a run: PEFT directories at `<run folder>/checkpoints/step-000010`.

Beside the adapter each holds `trainer/`: the optimiser and the cursor, which is what a run needs
to go on. The adapter's config is written last, so a directory that reads back is whole; one that
a kill left half-written does not count and is written again.
"""

import json
from dataclasses import asdict, dataclass
from statistics import fmean

import fsspec

from actors.lm.adapter import CONFIG, MANIFEST, read_adapter
from actors.train.metrics import StepMetrics
from configs.errors import UserError

CHECKPOINTS = "checkpoints"
_CURSOR = "trainer/cursor.json"


@dataclass(frozen=True)
class Cursor:
    """Where a run stands: what was done, and the data that it was done on.

    The next batch is that of step `len(history)`.
    """

    history: list[StepMetrics]
    data_digest: str


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint as it is shown: `loss` is the mean since the one before it."""

    path: str
    step: int
    version: int
    digest: str
    loss: float


def checkpoint_path(run_folder: str, step: int) -> str:
    """Where the checkpoint after `step` steps stands."""
    return f"{run_folder}/{CHECKPOINTS}/step-{step:06d}"


def write_cursor(path: str, cursor: Cursor) -> None:
    """Write the cursor; comes before the adapter, whose config closes the directory."""
    fs, root = fsspec.core.url_to_fs(path)
    fs.makedirs(f"{root}/trainer", exist_ok=True)
    fs.pipe_file(f"{root}/{_CURSOR}", json.dumps(asdict(cursor)).encode())


def read_cursor(path: str) -> Cursor:
    """The cursor of a whole checkpoint."""
    fs, root = fsspec.core.url_to_fs(path)
    try:
        fields = json.loads(fs.cat_file(f"{root}/{_CURSOR}"))
        history = [StepMetrics(**row) for row in fields["history"]]
        return Cursor(history, fields["data_digest"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        raise UserError(f"{path}: {_CURSOR} is missing or damaged; remove the directory.") from None


def latest_checkpoint(run_folder: str) -> str | None:
    """The whole checkpoint with the most steps, None when there is none."""
    for path in reversed(_candidates(run_folder)):
        try:
            read_adapter(path)
        except UserError:
            continue  # cut short by a kill: no adapter yet, or not all of it
        return path
    return None


def saved_checkpoints(run_folder: str) -> list[SavedCheckpoint]:
    """Every checkpoint of a run in the order of their steps."""
    saved: list[SavedCheckpoint] = []
    for path in _candidates(run_folder):
        fs, root = fsspec.core.url_to_fs(path)
        manifest = json.loads(fs.cat_file(f"{root}/{MANIFEST}"))
        since = saved[-1].step if saved else 0
        history = read_cursor(path).history
        loss = fmean(row.loss for row in history[since:])
        saved.append(
            SavedCheckpoint(path, manifest["step"], manifest["version"], manifest["digest"], loss)
        )
    return saved


def _candidates(run_folder: str) -> list[str]:
    """Directories whose last file is there, by step; paths in the form of `run_folder`."""
    fs, root = fsspec.core.url_to_fs(f"{run_folder}/{CHECKPOINTS}")
    configs = {path: fs.cat_file(path) for path in sorted(fs.glob(f"{root}/step-*/{CONFIG}"))}
    names = [path.split("/")[-2] for path, data in configs.items() if _is_json(data)]
    return [f"{run_folder}/{CHECKPOINTS}/{name}" for name in names]


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except json.JSONDecodeError:
        return False
    return True
