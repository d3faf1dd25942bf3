"""More adapters than seats: none leaves while it is used, and nobody waits for ever."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.residency import Action, Granted, Load, Residency, Unload


class Room:
    """A residency whose loads and unloads end when the test says so; checks every step."""

    def __init__(self, seats: int) -> None:
        self.rules, self.seats = Residency(seats), seats
        self.wants: dict[int, str] = {}
        self.holding: dict[int, str] = {}
        self.moves: deque[Action] = deque()
        self.taken: set[str] = set()
        self.loads: list[str] = []
        self.asked = 0

    def ask(self, name: str, *, pinned: bool = False) -> int:
        ticket = self.asked = self.asked + 1
        self.wants[ticket] = name
        self.rules.ask(ticket, name, pinned=pinned)
        self.go_on()
        return ticket

    def end(self, ticket: int) -> None:
        self.wants.pop(ticket, None)
        self.holding.pop(ticket, None)
        self.rules.end(ticket)
        self.go_on()

    def finish_move(self, *, fails: bool = False) -> None:
        match self.moves.popleft():
            case Load(name) if fails:
                for ticket in self.rules.failed(name):
                    assert self.wants.pop(ticket) == name  # type: ignore[arg-type]
                self.taken.remove(name)
            case Load(name):
                self.rules.loaded(name)
            case Unload(name):
                self.rules.unloaded(name)
                self.taken.remove(name)
        self.go_on()

    def go_on(self) -> None:
        for action in self.rules.step():
            match action:
                case Granted(int(ticket)):
                    self.holding[ticket] = self.wants.pop(ticket)
                    assert self.holding[ticket] in self.rules.resident()
                case Load(name):
                    assert name not in self.taken
                    self.taken.add(name)
                    assert len(self.taken) <= self.seats
                    self.loads.append(name)
                    self.moves.append(action)
                case Unload(name):
                    assert name not in self.holding.values()
                    self.moves.append(action)

    def settle(self) -> None:
        while self.moves:
            self.finish_move()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abcdef")),
        st.tuples(st.just("end"), st.integers(0, 20)),
        st.tuples(st.just("move"), st.booleans()),
        st.tuples(st.just("drop"), st.sampled_from("abcdef")),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(seats=st.integers(1, 4), events=EVENTS)
def test_whoever_asks_is_served_in_the_end(seats: int, events: list) -> None:
    room = Room(seats)
    for kind, value in events:
        tickets = [*room.wants, *room.holding]
        if kind == "ask":
            room.ask(value)
        elif kind == "end" and tickets:
            room.end(tickets[value % len(tickets)])
        elif kind == "move" and room.moves:
            room.finish_move(fails=value)
        elif kind == "drop":
            room.rules.drop(value)
            room.go_on()
    room.settle()
    while room.wants or room.holding:
        assert room.holding, f"{room.wants} wait for nothing"
        room.end(next(iter(room.holding)))
        room.settle()


@given(seats=st.integers(1, 3), hot=st.integers(1, 5), rounds=st.integers(0, 30))
def test_adapters_that_are_always_in_use_make_room(seats: int, hot: int, rounds: int) -> None:
    room = Room(seats)
    names = [f"hot{i}" for i in range(seats)]
    for i in range(rounds + hot):  # several users of each, one overlapping the next
        room.ask(names[i % seats])
        room.settle()
        if len(room.holding) > hot:
            room.end(min(room.holding))
    cold = room.ask("cold")
    for i in range(2 * (hot + seats)):
        room.ask(names[i % seats])
        room.settle()
        if room.holding and cold not in room.holding:
            room.end(min(room.holding))
        room.settle()
    assert cold in room.holding


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
def test_first_come_first_served(names: list[str]) -> None:
    room = Room(1)
    for name in names:
        room.ask(name)
    while room.wants or room.holding:
        room.settle()
        room.end(next(iter(room.holding)))
    assert room.loads == names


def test_the_least_recently_used_leaves() -> None:
    room = Room(3)
    for name in ("a", "b", "c", "a"):
        ticket = room.ask(name)
        room.settle()
        room.end(ticket)
    room.ask("d")
    room.settle()
    assert sorted(room.rules.resident()) == ["a", "c", "d"]


def test_an_idle_adapter_leaves_before_one_that_had_to_close() -> None:
    room = Room(2)
    slow, quick = room.ask("slow"), room.ask("quick")
    room.settle()
    cold = room.ask("cold")  # "slow" closes: nobody new may use it
    late = room.ask("slow")
    assert late not in room.holding
    room.end(quick)
    room.settle()
    assert room.holding == {slow: "slow", late: "slow", cold: "cold"}


def test_an_adapter_whose_name_is_gone_leaves_after_its_last_user() -> None:
    room = Room(2)
    ticket = room.ask("a")
    room.settle()
    room.rules.drop("a")
    room.go_on()
    assert room.rules.resident() == ["a"]
    room.end(ticket)
    room.settle()
    assert room.rules.resident() == []


@pytest.mark.parametrize("others", ["bc", "cb"])
def test_who_collects_several_is_not_robbed_of_the_first(others: str) -> None:
    """Two seats, `a` held by who still wants `c`; `b` is wanted by one user after another."""
    room = Room(2)
    first = room.ask("a", pinned=True)
    busy = room.ask("d")
    room.settle()
    tickets = {name: room.ask(name, pinned=name == "c") for name in others}
    room.end(busy)
    room.settle()
    for _ in range(3):
        newer = room.ask("b")
        room.settle()
        room.end(tickets["b"])
        room.settle()
        tickets["b"] = newer
    assert {first, tickets["c"]} <= room.holding.keys()
