"""Checkpoints under the storage root, by their tinker:// paths.

```
tinker/{session}-{n}/weights/{name}/              a PEFT directory with trainer/, to train on from
tinker/{session}-{n}/sampler_weights/{name}/      a PEFT directory
tinker/{session}-{n}/external_weights/{name}/     a PEFT directory, to be downloaded
```
A checkpoint is there once its adapter's config is, which is written last, and is never overwritten.
One whose time is over counts as gone, and its files go a little later.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from actors.lm.adapter import CONFIG, MANIFEST, TENSORS, Manifest
from actors.store.storage import Storage
from serve.tinker_api.entries import ENTRY, Entries
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import MOST_TTL_S, Checkpoint, now
from serve.tinker_api.paths import (
    ROOT,
    CheckpointPath,
    absent,
    checkpoint_folder,
    checkpoint_of_folder,
    is_name,
    run_folder,
)

FILES = (CONFIG, TENSORS, MANIFEST)  # of an adapter
_PIECE_BYTES = 2**20


class Store:
    """Reads and writes them. 404 where there is none, Failed where one cannot be made."""

    def __init__(self, root: str, clock: Callable[[], datetime] = now) -> None:
        self._storage = Storage(root)
        self._entries = Entries(self._storage, clock)

    def folder(self, path: CheckpointPath) -> str:
        """Where a checkpoint stands (a folder or URL)."""
        return self._storage.path(checkpoint_folder(path))

    def begin(self, path: CheckpointPath, checkpoint: Checkpoint, ttl_s: int | None) -> str:
        """The folder of a new checkpoint. Its adapter is written next, and closes it."""
        if not is_name(path.name):
            raise Failed(
                f'"{path.name[:200]}" cannot name a checkpoint: use up to 128 letters, digits and '
                "_.+=-, the first a letter, a digit or _"
            )
        if ttl_s is not None and not 1 <= ttl_s <= MOST_TTL_S:
            raise Failed(f"ttl_seconds={ttl_s} must lie in 1..{MOST_TTL_S}; None keeps it")
        self.expire(path)
        if self._storage.exists(f"{checkpoint_folder(path)}/{CONFIG}"):
            raise Failed(
                f"{path} exists, and a checkpoint is never overwritten; give another name, or "
                "delete it first"
            )
        self._entries.write(path, checkpoint, ttl_s)
        return self.folder(path)

    def read(self, path: CheckpointPath) -> Checkpoint:
        """What is known of a checkpoint."""
        found = self._whole(path, self._sizes(checkpoint_folder(path)))
        if found is None:
            raise absent(f"there is no checkpoint {path}")
        return found

    def manifest(self, path: CheckpointPath) -> Manifest:
        """Where a checkpoint's adapter comes from, and the digest of its content."""
        self.read(path)
        try:
            data = self._storage.read(f"{checkpoint_folder(path)}/{MANIFEST}")
        except FileNotFoundError:  # deleted a moment ago
            raise absent(f"there is no checkpoint {path}") from None
        return Manifest(**json.loads(data))

    def checkpoints(self, run_id: str | None = None) -> dict[CheckpointPath, Checkpoint]:
        """Those of a run, or of all, the newest first."""
        sizes = self._sizes(ROOT if run_id is None else f"{ROOT}/{run_folder(run_id)}")
        found = {path: self._whole(path, sizes) for path in _paths(sizes, CONFIG)}
        there = {path: one for path, one in found.items() if one is not None}
        return dict(sorted(there.items(), key=lambda pair: pair[1].created, reverse=True))

    def set_ttl(self, path: CheckpointPath, ttl_s: int | None) -> None:
        """Let a checkpoint end after so long from now; None keeps it."""
        self._entries.write(path, self.read(path), ttl_s)

    def delete(self, path: CheckpointPath) -> None:
        """Remove a checkpoint."""
        self.read(path)
        self._remove(path)

    def expired(self) -> list[CheckpointPath]:
        """Those whose time is over, and whose files are still there."""
        return [path for path in _paths(self._sizes(ROOT), ENTRY) if self._entries.is_over(path)]

    def expire(self, path: CheckpointPath) -> None:
        """Remove a checkpoint if its time is over."""
        if self._entries.is_over(path):
            self._remove(path)

    def file(self, path: CheckpointPath, name: str) -> tuple[int, Iterator[bytes]]:
        """One of a checkpoint's `FILES`: its size in bytes, and its content in pieces."""
        self.read(path)
        full = f"{self._storage.root}/{checkpoint_folder(path)}/{name}"
        if name not in FILES or not self._storage.fs.exists(full):
            raise absent(f"{path} has no file {name[:100]}")
        return int(self._storage.fs.size(full) or 0), self._pieces(full)

    def _whole(self, path: CheckpointPath, sizes: Mapping[str, int]) -> Checkpoint | None:
        """None where it was not written to its end, is over, or has just been deleted."""
        files = [f"{checkpoint_folder(path)}/{file}" for file in FILES]
        entry = self._entries.read(path) if files[0] in sizes else None
        return entry and replace(entry, size_bytes=sum(sizes.get(file, 0) for file in files))

    def _sizes(self, folder: str) -> dict[str, int]:
        """Name under the root -> bytes, of all files in a folder and in those below."""
        start = f"{self._storage.root}/"
        found: Mapping[str, Any] = self._storage.fs.find(f"{start}{folder}", detail=True)
        return {name.removeprefix(start): int(one["size"] or 0) for name, one in found.items()}

    def _pieces(self, full: str) -> Iterator[bytes]:
        with self._storage.fs.open(full, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def _remove(self, path: CheckpointPath) -> None:
        folder = checkpoint_folder(path)
        with suppress(FileNotFoundError):  # never closed, or somebody else removes it too
            self._storage.remove(f"{folder}/{CONFIG}")  # first: from now on it is not there
        with suppress(FileNotFoundError):
            self._storage.fs.rm(f"{self._storage.root}/{folder}", recursive=True)


def _paths(names: Iterable[str], file: str) -> list[CheckpointPath]:
    """The checkpoints that have such a file."""
    folders = [name.removesuffix(f"/{file}") for name in names if name.endswith(f"/{file}")]
    return [path for path in map(checkpoint_of_folder, folders) if path is not None]
