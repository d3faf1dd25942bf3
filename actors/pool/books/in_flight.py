"""The calls in flight, as the books' file keeps them: a process that is killed forgets none."""

import sqlite3
from typing import NamedTuple

from actors.pool.books.ledger import Hold
from actors.pool.books.waiting import Id

SCHEMA = """
CREATE TABLE IF NOT EXISTS holds (
    owner TEXT, ticket INTEGER, key TEXT NOT NULL, run_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    reserved INTEGER NOT NULL, sunk INTEGER NOT NULL, PRIMARY KEY (owner, ticket));
CREATE INDEX IF NOT EXISTS holds_by_key ON holds (key);
"""


class Held(NamedTuple):
    """A call in flight."""

    key: str
    run_id: str
    attempt: int
    hold: Hold


class InFlight:
    """The table of calls in flight; to be written inside the store's `writing()`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def held(self, id_: Id) -> Held | None:
        """The call in flight of a ticket."""
        row = self._db.execute(
            "SELECT key, run_id, attempt, reserved, sunk FROM holds WHERE owner=? AND ticket=?", id_
        ).fetchone()
        if row is None:
            return None
        key, run_id, attempt, reserved, sunk = row
        return Held(key, run_id, attempt, Hold(reserved, sunk))

    def holder(self, key: str) -> Id | None:
        """Whose call for `key` is in flight."""
        return self._db.execute("SELECT owner, ticket FROM holds WHERE key = ?", (key,)).fetchone()

    def hold(self, id_: Id, held: Held) -> None:
        """A call is in flight."""
        self._db.execute(
            "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*id_, *held[:3], *held.hold),
        )

    def release(self, id_: Id) -> None:
        """A call is no longer in flight."""
        self._db.execute("DELETE FROM holds WHERE owner=? AND ticket=?", id_)

    def tickets(self, owner: str) -> list[Id]:
        """What an owner has in flight."""
        return self._db.execute(
            "SELECT owner, ticket FROM holds WHERE owner=?", (owner,)
        ).fetchall()
