"""The books of a storage root that is no disk: SQLite in a local folder, mirrored in parts there.

A part holds answers and failures that are in no part yet, and what this file's runs have spent up
to now. Reading a part twice changes nothing, so a kill at any moment costs nothing. What was in
flight elsewhere when a part was written counts as presumed spent.
"""

import gzip
import json
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from actors.pool.books.rows import (
    answering_from_json,
    answering_to_json,
    row_from_json,
    row_to_json,
)
from actors.pool.books.store import Row, Store
from actors.store.storage import Storage
from configs.base import digest

_FOLDER = "pool/calls"
_FILE = "pool/calls.sqlite"
_ROWS_PER_PART = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (books TEXT NOT NULL, written INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS unjournaled (key TEXT PRIMARY KEY);
"""
_NOTE_NEW = """
CREATE TEMP TRIGGER note_new_{table} AFTER INSERT ON main.{table}
BEGIN INSERT OR IGNORE INTO unjournaled VALUES (new.key); END
"""
# What took the place of a row while its part was written is in no part yet.
_NOTE_WRITTEN = """
DELETE FROM unjournaled WHERE key = ?1
AND NOT EXISTS (SELECT 1 FROM calls WHERE key = ?1 AND created_s != ?2)
"""


class Part(NamedTuple):
    """A part to be written: its name under the root, its bytes, and the calls in it."""

    name: str
    data: bytes
    calls: list[tuple[str, float]]  # keys, and when they were stored
    spending: list[Any]


class Journal:
    """The parts of one storage root, and the store that they mirror."""

    def __init__(self, store: Store, storage: Storage) -> None:
        self._store, self._storage = store, storage
        self._spending: list[Any] = []
        with store.writing():
            for statement in _SCHEMA.split(";")[:-1]:
                store.db.execute(statement)
            if store.db.execute("SELECT * FROM journal").fetchone() is None:
                store.db.execute("INSERT INTO journal VALUES (?, 0)", (uuid.uuid4().hex,))
            self._books, _ = store.db.execute("SELECT * FROM journal").fetchone()
            self._read_parts()
        for table in ("answers", "failures"):
            store.db.execute(_NOTE_NEW.format(table=table))

    def next_part(self) -> Part | None:
        """What is in no part yet; None: nothing."""
        db = self._store.db
        chosen = "SELECT key FROM unjournaled WHERE key IN (SELECT key FROM calls) LIMIT ?"
        rows = [
            Row._make(found)
            for found in db.execute(
                f"SELECT * FROM calls WHERE key IN ({chosen})", (_ROWS_PER_PART,)
            )
        ]
        spending = db.execute(
            "SELECT run_id, spent, presumed + reserved FROM spending WHERE books = ''"
        ).fetchall()
        if not rows and spending == self._spending:
            return None
        providers = {n: answering_to_json(a) for n, a in self._store.providers().items()}
        lines = [{"spending": spending, "providers": providers}, *map(row_to_json, rows)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with self._store.writing():
            db.execute("UPDATE journal SET written = written + 1")
            _, number = db.execute("SELECT * FROM journal").fetchone()
        name = f"{_FOLDER}/{self._books}-{number:010}.jsonl.gz"
        calls = [(row.key, row.created_s) for row in rows]
        return Part(name, gzip.compress(text.encode()), calls, spending)

    def write(self, part: Part) -> None:
        """Put a part beside the others. It touches no SQLite: any thread may do it."""
        self._storage.write_new(part.name, part.data)

    def written(self, part: Part) -> None:
        """The part is safe."""
        with self._store.writing():
            self._store.db.executemany(_NOTE_WRITTEN, part.calls)
        self._spending = part.spending

    def save(self) -> None:
        """Write all that is in no part yet."""
        while (part := self.next_part()) is not None:
            self.write(part)
            self.written(part)

    def _read_parts(self) -> None:
        db = self._store.db
        read = {name for (name,) in db.execute("SELECT name FROM parts")}
        for name in self._storage.names(_FOLDER):
            books, _, _ = name.partition("-")
            if name in read or books == self._books:
                continue
            head, *lines = gzip.decompress(self._storage.read(f"{_FOLDER}/{name}")).splitlines()
            fields = json.loads(head)
            for run_id, spent, presumed in fields["spending"]:
                sums = (run_id, books, spent, presumed)
                db.execute("INSERT OR REPLACE INTO spending VALUES (?, ?, ?, ?, 0)", sums)
            for provider, described in fields["providers"].items():
                self._store.introduce(answering_from_json(provider, described))
            for line in lines:
                self._store.put(row_from_json(json.loads(line)))
            db.execute("INSERT INTO parts VALUES (?)", (name,))


def has_books(root: str) -> bool:
    """Whether anything was ever written to the books of a storage root."""
    storage = Storage(root)
    return storage.exists(_FILE if storage.is_local else _FOLDER)


def open_books(root: str) -> tuple[Store, Journal | None]:
    """The books of a storage root, and their journal where the root is no disk."""
    storage = Storage(root)
    if storage.is_local:
        return Store(Path(storage.path(_FILE))), None
    folder = f"hothouse-books-{os.getuid()}-{digest(storage.path(''))[:16]}"
    store = Store(Path(tempfile.gettempdir()) / folder / "calls.sqlite")
    return store, Journal(store, storage)
