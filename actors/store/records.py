"""Records: one result row with a key, appended as it arrives, read back when a run continues.

A key is the digest of everything that determined the row. Each process appends to a part file of
its own, so nothing that was written is ever touched again; a line cut short by a kill is left out
when the parts are read. Object stores cannot append: there a part is put whole every few rows.
"""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors.store.storage import Storage
from configs.base import digest

_ROWS_PER_OBJECT = 32


def record_key(**determinants: Any) -> str:
    """The key of a row: a digest of what determined it."""
    return digest(determinants)[:32]


class Records:
    """The rows of one kind in a run, by key."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self._rows = {row["key"]: row for row in _read_parts(storage, folder)}
        self._part: Any = None
        self._unsaved: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, in the order in which their parts were read or appended."""
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, key: str, **fields: Any) -> None:
        """Store a row; it survives a kill -9 of this process (on a disk, at once)."""
        row = {"key": key, **fields}
        self._rows[key] = row
        self._unsaved.append(json.dumps(row, ensure_ascii=False) + "\n")
        if self._storage.is_local or len(self._unsaved) >= _ROWS_PER_OBJECT:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        text, self._unsaved = "".join(self._unsaved), []
        if not text:
            return
        name = f"{self._folder}/{uuid.uuid4().hex}.jsonl"
        if not self._storage.is_local:
            self._storage.write_new(name, text.encode())
            return
        if self._part is None:
            path = Path(self._storage.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part = path.open("a", encoding="utf-8")
        self._part.write(text)
        self._part.flush()


def _read_parts(storage: Storage, folder: str) -> Iterator[dict[str, Any]]:
    for part in storage.names(folder):
        for line in storage.read(f"{folder}/{part}").decode("utf-8", "replace").split("\n"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a process that was killed while writing
