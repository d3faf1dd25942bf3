"""Which adapters sit in an engine's slots when there are more adapters than slots. Pure.

The least recently used adapter that nobody uses makes room for the one that was asked for first.
When all are in use, the one that has been there longest takes no new users, so that it gets free
however many ask for it: nobody waits for ever.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Move(NamedTuple):
    """Something to be done with an adapter; whoever does it says how it ended."""

    what: Literal["load", "unload"]
    name: str


@dataclass
class _Seat:
    state: Literal["loading", "there", "leaving"]
    users: int = 0
    is_closing: bool = False


class Residency:
    """Places for adapters, who uses them, and who waits for one."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._seats: OrderedDict[str, _Seat] = OrderedDict()  # the least recently used first
        self._arrived: list[str] = []  # those that are there, the longest first
        self._waiting: Counter[str] = Counter()  # in the order of the first who waits for a name

    @property
    def resident(self) -> list[str]:
        """The adapters that can be used at once."""
        return [name for name, seat in self._seats.items() if seat.state == "there"]

    def enter(self, name: str) -> bool:
        """One more user of an adapter; False: who asks must wait until it is loaded."""
        seat = self._seats.get(name)
        if seat is not None and seat.state == "there" and not seat.is_closing:
            seat.users += 1
            self._seats.move_to_end(name)
            return True
        self._waiting[name] += 1
        return False

    def leave(self, name: str) -> None:
        """One user less."""
        self._seats[name].users -= 1

    def give_up(self, name: str) -> None:
        """One less who waits."""
        self._waiting[name] -= 1
        if not self._waiting[name]:
            del self._waiting[name]

    def retire(self, name: str) -> None:
        """It is not to be asked for any more, and leaves when its last user does."""
        if name in self._seats:
            self._seats[name].is_closing = True

    def next_move(self) -> Move | None:
        """The next thing to do, which counts as begun; None: nothing before something ends."""
        for name, seat in self._seats.items():
            if seat.state == "there" and seat.is_closing and not seat.users:
                return self._unload(name)
        wanted = [name for name in self._waiting if name not in self._seats]
        if not wanted:
            return None
        if len(self._seats) < self._places:
            self._seats[wanted[0]] = _Seat("loading")
            return Move("load", wanted[0])
        going = sum(seat.is_closing or seat.state == "leaving" for seat in self._seats.values())
        if going >= len(wanted):
            return None
        for name, seat in self._seats.items():
            if seat.state == "there" and not seat.users:
                return self._unload(name)
        for name in self._arrived[: len(wanted)]:
            self._seats[name].is_closing = True
        return None

    def loaded(self, name: str) -> int:
        """It is there; so many who waited now use it."""
        seat = self._seats[name]
        seat.state, seat.users = "there", self._waiting.pop(name, 0)
        self._arrived.append(name)
        self._seats.move_to_end(name)
        return seat.users

    def failed(self, name: str) -> int:
        """It could not be loaded; so many who waited are told so."""
        del self._seats[name]
        return self._waiting.pop(name, 0)

    def unloaded(self, name: str) -> None:
        """Its place is free."""
        del self._seats[name]

    def _unload(self, name: str) -> Move:
        self._seats[name].state = "leaving"
        self._arrived.remove(name)
        return Move("unload", name)
