"""The books on a disk: one SQLite file with answers, spending, calls in flight and their owners.

A batch of entries is one transaction, so a kill leaves all of it or none. Several processes may
have the file open: who reads in order to write does it inside `writing()`.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from actors.pool.books import attendance, in_flight
from actors.pool.books.entries import Answering
from actors.pool.books.ledger import Ledger, Totals
from configs.errors import UserError

_FORMAT = 1
_BUSY_S, _RETRY_S = 30.0, 0.02
# `books` tells the spending of this file from what was read out of the journals of others.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, request BLOB,
    answer BLOB NOT NULL, created_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    key TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, request BLOB,
    created_s REAL NOT NULL, failure BLOB NOT NULL);
CREATE VIEW IF NOT EXISTS calls AS
    SELECT key, provider, model, request, answer, created_s, NULL AS failure FROM answers
    UNION ALL SELECT key, provider, model, request, NULL, created_s, failure FROM failures;
CREATE TABLE IF NOT EXISTS providers (
    name TEXT PRIMARY KEY, default_model TEXT, schema_options TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spending (
    run_id TEXT, books TEXT, spent INTEGER NOT NULL, presumed INTEGER NOT NULL,
    reserved INTEGER NOT NULL, PRIMARY KEY (run_id, books));
"""


class Row(NamedTuple):
    """An answer, or a failure for good, with what people want to know about it."""

    key: str
    provider: str
    model: str
    request: bytes | None  # JSON of the body, where it was given
    answer: bytes | None  # JSON
    created_s: float
    failure: bytes | None = None  # JSON; only a replay sees it


class Store:
    """An open file; of one thread."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        with self._faults():
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._write_ahead()
            self.db.execute("PRAGMA synchronous = NORMAL")
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise UserError(f"{path} was written by another version of hothouse.")
            tables = _SCHEMA + in_flight.SCHEMA + attendance.SCHEMA
            self.db.executescript(f"BEGIN IMMEDIATE;{tables}PRAGMA user_version={_FORMAT};COMMIT;")

    def _write_ahead(self) -> None:
        """Switch the journal's mode, at which SQLite does not wait for other processes."""
        give_up_s = time.monotonic() + _BUSY_S
        while True:
            try:
                self.db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                is_locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
                if not is_locked or time.monotonic() > give_up_s:
                    raise
            time.sleep(_RETRY_S)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that other processes wait for; all of it is kept, or nothing."""
        with self._faults():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self.db.in_transaction:  # some faults have ended it already
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read inside is of one moment; other processes may go on writing."""
        with self._faults():
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                self.db.execute("ROLLBACK")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            raise UserError(
                f"{self._path} cannot be used: {error}. Make room there, or give another storage=."
            ) from error

    def answers(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The stored ones among `keys`."""
        with self._faults():
            return dict(
                self.db.execute(
                    "SELECT key, answer FROM answers WHERE key IN (SELECT value FROM json_each(?))",
                    (json.dumps(list(keys)),),
                )
            )

    def failure(self, key: str) -> bytes | None:
        """How a call failed for good that has no answer."""
        found = self.db.execute("SELECT failure FROM failures WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def put(self, row: Row) -> bool:
        """Store an answer or a failure; false where the key has an answer already."""
        if row.failure is not None:
            done = self.db.execute(
                "INSERT OR REPLACE INTO failures SELECT ?1, ?2, ?3, ?4, ?6, ?7 "
                "WHERE NOT EXISTS (SELECT 1 FROM answers WHERE key = ?1) AND ?5 IS NULL",
                row,
            )
            return done.rowcount > 0
        done = self.db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row[:6])
        self.db.execute("DELETE FROM failures WHERE key = ?", (row.key,))
        return done.rowcount > 0

    def drop(self, key: str) -> None:
        """Forget an answer."""
        self.db.execute("DELETE FROM answers WHERE key = ?", (key,))

    def rows(self) -> Iterator[Row]:
        """All answers and failures, by key."""
        return map(Row._make, self.db.execute("SELECT * FROM calls ORDER BY key"))

    def summary(self) -> list[tuple[str, str, int, int]]:
        """Provider, model, and how many answers and failures they have, in order."""
        return self.db.execute(
            "SELECT provider, model, count(answer), count(failure) FROM calls "
            "GROUP BY provider, model ORDER BY provider, model"
        ).fetchall()

    def introduce(self, answering: Answering) -> None:
        """Note what stands for a provider when its answers are replayed."""
        self.db.execute(
            "INSERT OR REPLACE INTO providers VALUES (?, ?, ?)",
            (answering.name, answering.default_model, json.dumps(answering.schema_options)),
        )

    def providers(self) -> dict[str, Answering]:
        """Providers, by name."""
        found = self.db.execute("SELECT * FROM providers ORDER BY name").fetchall()
        return {name: Answering(name, model, json.loads(options)) for name, model, options in found}

    def ledger(self) -> Ledger:
        """The totals of all runs."""
        totals = self.db.execute(
            "SELECT run_id, sum(spent), sum(presumed), sum(reserved) FROM spending GROUP BY run_id"
        )
        return Ledger({run: Totals(*sums) for run, *sums in totals})

    def keep(self, moved: Mapping[str, Totals]) -> None:
        """Add to the spending of runs."""
        self.db.executemany(
            "INSERT INTO spending VALUES (?, '', ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "spent = spent + excluded.spent, presumed = presumed + excluded.presumed, "
            "reserved = reserved + excluded.reserved",
            [(run, t.spent, t.presumed, t.reserved) for run, t in moved.items()],
        )
