"""Training runs and their checkpoints under the storage root, by their tinker:// paths.

```
tinker/{session}-{n}/run.json                     what the training client was made with
tinker/{session}-{n}/weights/{name}/              a PEFT directory with trainer/, to train on from
tinker/{session}-{n}/sampler_weights/{name}/      a PEFT directory
tinker/{session}-{n}/external_weights/{name}/     a PEFT directory, to be downloaded
```
A checkpoint is there once its adapter's config is, which is written last, and is never overwritten.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from actors.lm.adapter import CONFIG, MANIFEST, TENSORS
from actors.store.storage import Storage
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import Checkpoint, Run, now
from serve.tinker_api.paths import (
    CheckpointPath,
    Kind,
    absent,
    is_name,
    run_folder,
    run_of_folder,
)

FILES = (CONFIG, TENSORS, MANIFEST)  # of an adapter
_ROOT, _RUN, _ENTRY = "tinker", "run.json", "checkpoint.json"
_PIECE_BYTES = 2**20
_KINDS: tuple[Kind, ...] = ("weights", "sampler_weights", "external_weights")


class Store:
    """Reads and writes them. 404 where there is none, Failed where one cannot be made."""

    def __init__(self, root: str, clock: Callable[[], datetime] = now) -> None:
        self._storage, self._clock = Storage(root), clock

    def add_run(self, run: Run) -> None:
        """A training client was made, perhaps for the second time: its trainer was killed."""
        data = json.dumps(asdict(run), indent=2).encode()
        with suppress(FileExistsError):
            self._storage.write_new(f"{_ROOT}/{run_folder(run.id)}/{_RUN}", data)

    def run(self, run_id: str) -> Run:
        """A training run."""
        name = f"{_ROOT}/{run_folder(run_id)}/{_RUN}"
        if not self._storage.exists(name):
            raise absent(f'there is no training run "{run_id}"')
        return Run(**json.loads(self._storage.read(name)))

    def runs(self) -> list[Run]:
        """All of them, the newest first."""
        ids = filter(None, map(run_of_folder, self._storage.names(_ROOT)))
        known = [i for i in ids if self._storage.exists(f"{_ROOT}/{run_folder(i)}/{_RUN}")]
        return sorted(map(self.run, known), key=lambda run: run.created, reverse=True)

    def folder(self, path: CheckpointPath) -> str:
        """Where a checkpoint stands (a folder or URL)."""
        return self._storage.path(self._name(path))

    def begin(self, path: CheckpointPath, checkpoint: Checkpoint, ttl_s: int | None) -> str:
        """The folder of a new checkpoint. Its adapter is written next, and closes it."""
        if not is_name(path.name):
            raise Failed(
                f'"{path.name[:200]}" cannot name a checkpoint: use up to 128 letters, digits and '
                "_.+=-, the first a letter, a digit or _"
            )
        name = self._name(path)
        self._expire(path)
        if self._storage.exists(f"{name}/{CONFIG}"):
            raise Failed(
                f"{path} exists, and a checkpoint is never overwritten; give another name, or "
                "delete it first"
            )
        self._write_entry(name, replace(checkpoint, expires=self._after(ttl_s)))
        return self._storage.path(name)

    def read(self, path: CheckpointPath) -> Checkpoint:
        """What is known of a checkpoint."""
        name = self._name(path)
        self._expire(path)
        if not self._storage.exists(f"{name}/{CONFIG}"):
            raise absent(f"there is no checkpoint {path}")
        size = sum(self._size(f"{name}/{file}") for file in FILES)
        return replace(self._entry(name), size_bytes=size)

    def checkpoints(self, run_id: str) -> dict[CheckpointPath, Checkpoint]:
        """Those of a run, the newest first."""
        folder = f"{_ROOT}/{run_folder(run_id)}"
        paths = [
            CheckpointPath(run_id, kind, name)
            for kind in _KINDS
            for name in self._storage.names(f"{folder}/{kind}")
        ]
        whole = [path for path in paths if self._is_whole(path)]
        found = {path: self.read(path) for path in whole}
        return dict(sorted(found.items(), key=lambda pair: pair[1].created, reverse=True))

    def set_ttl(self, path: CheckpointPath, ttl_s: int | None) -> None:
        """Let a checkpoint end after so long from now; None keeps it."""
        checkpoint = self.read(path)
        self._write_entry(self._name(path), replace(checkpoint, expires=self._after(ttl_s)))

    def delete(self, path: CheckpointPath) -> None:
        """Remove a checkpoint."""
        self.read(path)
        self._remove(path)

    def file(self, path: CheckpointPath, name: str) -> tuple[int, Iterator[bytes]]:
        """One of a checkpoint's `FILES`: its size in bytes, and its content in pieces."""
        self.read(path)
        full = f"{self._name(path)}/{name}"
        if name not in FILES or not self._storage.exists(full):
            raise absent(f"{path} has no file {name[:100]}")
        return self._size(full), self._pieces(full)

    def _name(self, path: CheckpointPath) -> str:
        return f"{_ROOT}/{run_folder(path.run)}/{path.kind}/{path.name}"

    def _is_whole(self, path: CheckpointPath) -> bool:
        self._expire(path)
        return self._storage.exists(f"{self._name(path)}/{CONFIG}")

    def _expire(self, path: CheckpointPath) -> None:
        name = self._name(path)
        if not self._storage.exists(f"{name}/{_ENTRY}"):
            return
        expires = self._entry(name).expires
        if expires is not None and datetime.fromisoformat(expires) <= self._clock():
            self._remove(path)

    def _remove(self, path: CheckpointPath) -> None:
        name = self._name(path)
        if self._storage.exists(f"{name}/{CONFIG}"):
            self._storage.remove(f"{name}/{CONFIG}")  # first: from now on it is not there
        self._storage.fs.rm(f"{self._storage.root}/{name}", recursive=True)

    def _pieces(self, name: str) -> Iterator[bytes]:
        with self._storage.fs.open(f"{self._storage.root}/{name}", "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def _after(self, ttl_s: int | None) -> str | None:
        return None if ttl_s is None else (self._clock() + timedelta(seconds=ttl_s)).isoformat()

    def _entry(self, name: str) -> Checkpoint:
        fields: Mapping[str, Any] = json.loads(self._storage.read(f"{name}/{_ENTRY}"))
        return Checkpoint(**fields)

    def _write_entry(self, name: str, checkpoint: Checkpoint) -> None:
        fields = {k: v for k, v in asdict(checkpoint).items() if k != "size_bytes"}
        self._storage.fs.makedirs(f"{self._storage.root}/{name}", exist_ok=True)
        self._storage.fs.pipe_file(
            f"{self._storage.root}/{name}/{_ENTRY}", json.dumps(fields, indent=2).encode()
        )

    def _size(self, name: str) -> int:
        if not self._storage.exists(name):
            return 0
        return int(self._storage.fs.size(f"{self._storage.root}/{name}") or 0)
