"""Which owners are alive, and which session of a run they belong to."""

import sqlite3

from actors.pool.books.entries import Member

PRESUMED_DEAD_S = 60.0  # an owner that was silent for so long
_WRITTEN_S = 10.0  # that an owner lives is written down this often
SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, session TEXT NOT NULL,
    UNIQUE (run_id, session));
CREATE TABLE IF NOT EXISTS owners (
    owner TEXT PRIMARY KEY, session_number INTEGER NOT NULL, heard_s REAL NOT NULL);
"""


class Attendance:
    """The table of owners; `now_s` is the wall clock, which processes on one machine share."""

    def __init__(self, db: sqlite3.Connection, now_s: float) -> None:
        self._db = db
        self._listening_since_s = self._looked_s = now_s
        self._heard_s: dict[str, float] = {}

    def is_fresh(self, owner: str, now_s: float) -> bool:
        """Whether there is no need to write that an owner lives."""
        return now_s - self._heard_s.get(owner, float("-inf")) < _WRITTEN_S

    def is_new(self, owner: str) -> bool:
        """Whether an owner is not known here."""
        return owner not in self._heard_s

    def hear(self, member: Member, now_s: float) -> None:
        """An owner is alive."""
        self._heard_s[member.owner] = now_s
        row = (member.owner, self._session(member), now_s)
        self._db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", row)

    def left_before(self, member: Member) -> list[str]:
        """Owners that earlier sessions of the member's run left."""
        found = self._db.execute(
            "SELECT owner FROM owners JOIN sessions ON session_number = number "
            "WHERE run_id = ? AND number < ?",
            (member.run_id, self._session(member)),
        )
        return [owner for (owner,) in found]

    def silent(self, now_s: float) -> list[str]:
        """Owners that are presumed dead. To be asked every second or so."""
        # Before this process was there, or while the machine slept, nobody could be heard.
        if now_s - self._looked_s > PRESUMED_DEAD_S / 2:
            self._listening_since_s = now_s
        self._looked_s = now_s
        if now_s - self._listening_since_s < PRESUMED_DEAD_S:
            return []
        query = "SELECT owner FROM owners WHERE heard_s < ?"
        return [owner for (owner,) in self._db.execute(query, (now_s - PRESUMED_DEAD_S,))]

    def forget(self, owner: str) -> None:
        """An owner is gone."""
        self._heard_s.pop(owner, None)
        self._db.execute("DELETE FROM owners WHERE owner = ?", (owner,))

    def _session(self, member: Member) -> int:
        """The number of a session; later ones have greater numbers."""
        row = (member.run_id, member.session)
        self._db.execute("INSERT OR IGNORE INTO sessions VALUES (NULL, ?, ?)", row)
        query = "SELECT number FROM sessions WHERE run_id = ? AND session = ?"
        (number,) = self._db.execute(query, row).fetchone()
        return number
