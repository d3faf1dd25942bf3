"""`checkpoint.json`: what is known of a checkpoint beside its adapter; until when it stays."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from actors.store.storage import Storage
from serve.tinker_api.kept import Checkpoint
from serve.tinker_api.paths import CheckpointPath, checkpoint_folder

ENTRY = "checkpoint.json"


class Entries:
    """Reads and writes them, in the checkpoints' folders."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime]) -> None:
        self._storage, self._clock = storage, clock

    def read(self, path: CheckpointPath) -> Checkpoint | None:
        """Of a checkpoint that is there; None where there is none, or not any more."""
        entry = self._read(path)
        return None if entry is None or self._is_past(entry) else entry

    def is_over(self, path: CheckpointPath) -> bool:
        """Whether a checkpoint was there and its time is over."""
        entry = self._read(path)
        return entry is not None and self._is_past(entry)

    def write(self, path: CheckpointPath, checkpoint: Checkpoint, ttl_s: int | None) -> None:
        """Enter a checkpoint for so long from now; None for ever."""
        until = None if ttl_s is None else self._clock() + timedelta(seconds=ttl_s)
        entry = replace(checkpoint, expires=None if until is None else until.isoformat())
        fields = {name: value for name, value in asdict(entry).items() if name != "size_bytes"}
        self._storage.write(_file(path), json.dumps(fields, indent=2).encode())

    def _read(self, path: CheckpointPath) -> Checkpoint | None:
        with suppress(FileNotFoundError):
            return Checkpoint(**json.loads(self._storage.read(_file(path))))
        return None

    def _is_past(self, entry: Checkpoint) -> bool:
        expires = entry.expires
        return expires is not None and datetime.fromisoformat(expires) <= self._clock()


def _file(path: CheckpointPath) -> str:
    return f"{checkpoint_folder(path)}/{ENTRY}"
