"""Who waits: for the end of an identical call, or for money that calls in flight may give back."""

from collections import defaultdict
from typing import NamedTuple

from actors.pool.books.entries import Again, Member, Open

Id = tuple[str, int]  # owner, ticket


class Ask(NamedTuple):
    """A wish that cannot be answered yet."""

    member: Member
    entry: Open | Again

    @property
    def id(self) -> Id:
        """Whose wish it is."""
        return self.member.owner, self.entry.ticket


class Waiting:
    """Lines by key and by run, first come first served."""

    def __init__(self) -> None:
        self._by_key: defaultdict[str, dict[Id, Ask]] = defaultdict(dict)
        self._by_run: defaultdict[str, dict[Id, Ask]] = defaultdict(dict)

    def __len__(self) -> int:
        lines = [*self._by_key.values(), *self._by_run.values()]
        return sum(map(len, lines))

    @property
    def keys(self) -> list[str]:
        """Keys with a line."""
        return list(self._by_key)

    @property
    def runs(self) -> list[str]:
        """Runs with a line for money."""
        return list(self._by_run)

    def for_key(self, ask: Ask) -> None:
        """Wait for the end of the call that holds the key; who waits already keeps its place."""
        self._by_key[ask.entry.key].setdefault(ask.id, ask)

    def for_money(self, ask: Ask) -> None:
        """Wait for money of the run; calls that were begun come before those that were not."""
        run = ask.member.run_id
        if ask.id in self._by_run[run]:
            return
        line = self._by_run[run]
        begun = {id_: a for id_, a in line.items() if isinstance(a.entry, Again)}
        if isinstance(ask.entry, Again) and len(begun) < len(line):
            self._by_run[run] = begun | {ask.id: ask} | line
        else:
            line[ask.id] = ask

    def for_money_as_before(self, ask: Ask) -> None:
        """Wait on at the head of the line, where it was taken from."""
        run = ask.member.run_id
        self._by_run[run] = {ask.id: ask} | self._by_run.pop(run, {})

    def first_for_money(self, run: str) -> Ask | None:
        """The head of a run's line."""
        return next(iter(self._by_run.get(run, {}).values()), None)

    def take_key(self, key: str) -> list[Ask]:
        """All who wait for a key; they no longer do."""
        return list(self._by_key.pop(key, {}).values())

    def drop(self, id_: Id, key: str, run: str) -> None:
        """A ticket waits no more."""
        for lines, name in ((self._by_key, key), (self._by_run, run)):
            line = lines.get(name, {})
            line.pop(id_, None)
            if not line:
                lines.pop(name, None)

    def drop_owner(self, owner: str) -> None:
        """An owner waits no more."""
        gone = [
            ask
            for lines in (self._by_key, self._by_run)
            for line in lines.values()
            for ask in line.values()
            if ask.member.owner == owner
        ]
        for ask in gone:
            self.drop(ask.id, ask.entry.key, ask.member.run_id)
