"""Which adapters are in an engine's slots when more are asked for than fit. Pure: no clock, no I/O.

A ticket asks for an adapter and waits until it may use it. An adapter that is used stays. When all
slots are taken and somebody waits for another adapter, the least recently used one leaves: at once
if it is idle, else it takes no new tickets and leaves after its last one. So whoever waits longest
is served next, and nobody waits for ever.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Granted(NamedTuple):
    """A ticket may use its adapter now."""

    ticket: Hashable


class Load(NamedTuple):
    """An adapter is to be loaded; `loaded` or `failed` tells of the end."""

    name: str


class Unload(NamedTuple):
    """An adapter is to be unloaded; `unloaded` tells of the end."""

    name: str


Action = Granted | Load | Unload


@dataclass
class _Seat:
    state: Literal["loading", "ready", "leaving"] = "loading"
    tickets: set[Hashable] = field(default_factory=set)  # that use it
    used: int = 0  # when, by a count of events
    is_closing: bool = False  # takes no more tickets
    is_dropped: bool = False  # its name is gone


class Residency:
    """Seats for a number of adapters."""

    def __init__(self, seats: int) -> None:
        self._size = seats
        self._seats: dict[str, _Seat] = {}
        self._waiting: dict[Hashable, str] = {}  # ticket -> name, in the order in which they came
        self._using: dict[Hashable, str] = {}
        self._pins: set[Hashable] = set()
        self._events = 0

    def ask(self, ticket: Hashable, name: str, *, pinned: bool = False) -> None:
        """A ticket wants an adapter. While it is pinned, the adapter is nobody's victim.

        That is for who collects several adapters, one after another: only one may at a time, and
        not more than there are seats.
        """
        self._waiting[ticket] = name
        if pinned:
            self._pins.add(ticket)

    def unpin(self, ticket: Hashable) -> None:
        """A ticket's adapter counts like others again."""
        self._pins.discard(ticket)

    def end(self, ticket: Hashable) -> None:
        """A ticket is done with its adapter, or waits no longer."""
        self._pins.discard(ticket)
        self._waiting.pop(ticket, None)
        name = self._using.pop(ticket, None)
        if name is not None:
            self._seats[name].tickets.remove(ticket)
            self._seats[name].used = self._now()

    def drop(self, name: str) -> None:
        """An adapter's name is gone: it leaves after its last ticket."""
        if name in self._seats:
            self._seats[name].is_dropped = True

    def loaded(self, name: str) -> None:
        """An adapter can be used."""
        self._seats[name].state = "ready"
        self._seats[name].used = self._now()

    def failed(self, name: str) -> list[Hashable]:
        """An adapter cannot be loaded; those who waited for it."""
        del self._seats[name]
        refused = [ticket for ticket, wanted in self._waiting.items() if wanted == name]
        for ticket in refused:
            self.end(ticket)
        return refused

    def unloaded(self, name: str) -> None:
        """An adapter's seat is free."""
        del self._seats[name]

    def resident(self) -> list[str]:
        """Adapters that can be used."""
        return [name for name, seat in self._seats.items() if seat.state == "ready"]

    def wanted(self) -> list[str]:
        """Adapters that tickets wait for."""
        return list(dict.fromkeys(self._waiting.values()))

    def step(self) -> list[Action]:
        """What is to be done now."""
        # Who is in may go on; then seats are found for the others, which may reopen some.
        return [*self._grants(), *self._moves(), *self._grants()]

    def _grants(self) -> list[Action]:
        granted: list[Action] = []
        for ticket, name in list(self._waiting.items()):
            seat = self._seats.get(name)
            if seat is None or seat.state != "ready" or seat.is_closing or seat.is_dropped:
                continue
            del self._waiting[ticket]
            self._using[ticket] = name
            seat.tickets.add(ticket)
            seat.used = self._now()
            granted.append(Granted(ticket))
        return granted

    def _moves(self) -> list[Action]:
        missing = [name for name in self.wanted() if name not in self._seats]
        free = self._size - len(self._seats)
        leaving = sum(seat.state == "leaving" for seat in self._seats.values())
        moves: list[Action] = [Load(name) for name in missing[:free]]
        self._seats.update({name: _Seat() for name in missing[:free]})
        for name in self._victims(max(0, len(missing) - free - leaving)):
            self._seats[name].state = "leaving"
            moves.append(Unload(name))
        return moves

    def _victims(self, short: int) -> list[str]:
        """Those that can leave now, dropped ones and as many as are short; busy ones close."""
        ready = {name: seat for name, seat in self._seats.items() if seat.state == "ready"}

        def cost(name: str) -> tuple[bool, bool, int]:
            seat = ready[name]
            # One that closes goes on doing so: to take another instead could go on for ever.
            return bool(seat.tickets), not (seat.is_closing or seat.is_dropped), seat.used

        free_to_go = [name for name, seat in ready.items() if not seat.tickets & self._pins]
        chosen = sorted(free_to_go, key=cost)[:short]
        for name, seat in ready.items():
            seat.is_closing = name in chosen
        return [n for n, s in ready.items() if (s.is_closing or s.is_dropped) and not s.tickets]

    def _now(self) -> int:
        self._events += 1
        return self._events
