"""The clerk on a file in memory, under a clock that stands still until it is moved."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.books.attendance import PRESUMED_DEAD_S
from actors.pool.books.clerk import Clerk
from actors.pool.books.entries import (
    Again,
    Broke,
    Bury,
    Close,
    Failed,
    Member,
    Mine,
    NotRecorded,
    Open,
    Stored,
)
from actors.pool.books.key import answer_digest
from actors.pool.books.ledger import Budgets, Totals
from actors.pool.books.store import Store

NO_LIMIT = Budgets()
REQUEST = json.dumps({"model": "m"}).encode()


def member(owner: str, run: str = "run", session: str = "s", **fields) -> Member:
    return Member(owner, run, session, fields.pop("budgets", NO_LIMIT), **fields)


class Office:
    """A clerk with its file and the time."""

    def __init__(self) -> None:
        self.store = Store(":memory:")
        self.now_s = 0.0
        self.clerk = Clerk(self.store, self.now_s)

    def enter(self, who: Member, *entries) -> dict:
        self.clerk.turn(who, entries, self.now_s)
        return dict(self.clerk.take(who.owner))

    def totals(self, run: str = "run") -> Totals:
        return self.store.ledger().runs.get(run, Totals())

    def pass_time(self, seconds: int) -> None:
        """Tick as often as the actor does."""
        for _ in range(seconds):
            self.now_s += 1
            self.clerk.tick(self.now_s)

    def news(self, who: Member) -> dict:
        return dict(self.clerk.take(who.owner))


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.store.close()


def close(ticket: int, key: str = "k", answer: bytes | None = b"1", cost: int = 0, **fields):
    return Close(
        ticket, key, answer, cost, fields.get("presumed", 0), REQUEST, fields.get("failure")
    )


def test_the_first_who_asks_makes_the_call_and_the_others_get_its_answer(office: Office):
    a, b, c = member("a"), member("b"), member("c")
    assert office.enter(a, Open(1, "k", 5)) == {1: Mine()}
    assert office.enter(b, Open(1, "k", 5)) == {}
    assert office.enter(c, Open(1, "k", 5), Open(2, "other", 5)) == {2: Mine()}
    assert office.totals() == Totals(reserved=10)
    assert office.enter(a, close(1, answer=b'"yes"', cost=3)) == {}
    assert office.news(b) == office.news(c) == {1: Stored(b'"yes"')}
    assert office.enter(b, Open(2, "k", 5)) == {2: Stored(b'"yes"')}
    assert office.totals() == Totals(spent=3, reserved=5)


def test_a_call_without_an_answer_passes_to_the_next_in_line(office: Office):
    a, b, c = member("a"), member("b"), member("c")
    for who in (a, b, c):
        office.enter(who, Open(1, "k", 5))
    office.enter(a, close(1, answer=None))
    assert (office.news(b), office.news(c)) == ({1: Mine()}, {})
    office.enter(b, Bury("b"))
    assert office.news(c) == {1: Mine()}
    assert office.totals() == Totals(presumed=5, reserved=5)


def test_identical_calls_of_one_owner_are_sent_once(office: Office):
    a = member("a")
    assert office.enter(a, Open(1, "k", 5), Open(2, "k", 5)) == {1: Mine()}
    assert office.enter(a, close(1)) == {2: Stored(b"1")}


def test_entries_that_arrive_twice_count_once(office: Office):
    a = member("a", budgets=Budgets(run=100))
    for _ in range(2):
        assert office.enter(a, Open(1, "k", 10)) == {1: Mine()}
        assert office.totals() == Totals(reserved=10)
    for _ in range(2):
        assert office.enter(a, Again(1, "k", 2, 10, None)) == {1: Mine()}
        assert office.totals() == Totals(presumed=10, reserved=10)
    for _ in range(2):
        assert office.enter(a, close(1, cost=4, presumed=10)) == {}
        assert office.totals() == Totals(spent=4, presumed=10)


def test_a_clerk_that_is_replaced_knows_what_is_in_flight(office: Office):
    a, b = member("a", budgets=Budgets(run=10)), member("b", budgets=Budgets(run=10))
    office.enter(a, Open(1, "k", 10))
    office.clerk = Clerk(office.store, office.now_s)
    assert office.enter(b, Open(1, "k", 10), Open(2, "other", 10)) == {}
    assert office.enter(a, Open(1, "k", 10)) == {1: Mine()}
    office.enter(a, close(1, cost=0))
    assert office.news(b) == {1: Stored(b"1"), 2: Mine()}


def test_money_that_is_held_is_waited_for_in_order(office: Office):
    a = member("a", budgets=Budgets(run=100))
    said = office.enter(a, Open(1, "k1", 60), Open(2, "k2", 70), Open(3, "k3", 10))
    assert said == {1: Mine()}  # the third fits, but would keep the second from its turn
    assert office.enter(a, close(1, "k1", cost=20)) == {2: Mine(), 3: Mine()}
    said = office.enter(a, Open(4, "k4", 90))
    assert isinstance(said[4], Broke)
    assert "budget_usd=1e-07" in said[4].message


def test_an_answer_that_came_meanwhile_costs_nothing(office: Office):
    poor, rich = member("poor", "poor", budgets=Budgets(run=10)), member("rich", "rich")
    office.enter(poor, Open(1, "held", 10), Open(2, "k", 5))
    office.enter(rich, Open(1, "k", 5), close(1))
    office.enter(rich, Open(2, "other", 5))
    assert office.news(poor) == {2: Stored(b"1")}


def test_attempts_that_wait_for_each_other_do_not_wait_for_ever(office: Office):
    a = member("a", budgets=Budgets(run=20))
    office.enter(a, Open(1, "k1", 10), Open(2, "k2", 10))
    said = office.enter(a, Again(1, "k1", 2, 10, 4))
    assert said == {}  # 16 are gone or held: there is room if the second comes for 6 or less
    said = office.enter(a, Again(2, "k2", 2, 10, 4))
    assert said == {1: Mine()}
    assert office.enter(a, close(1, "k1", cost=5)) == {2: Mine()}
    office.enter(a, close(2, "k2", cost=5))
    assert office.totals() == Totals(spent=10)


def test_a_silent_owner_is_presumed_dead_and_one_that_is_heard_of_is_not(office: Office):
    dead, alive = member("dead"), member("alive")
    office.enter(dead, Open(1, "d", 5))
    office.enter(alive, Open(1, "a", 5), Open(2, "d", 5))
    office.pass_time(int(PRESUMED_DEAD_S) - 1)
    office.enter(alive)
    assert office.totals() == Totals(reserved=10)
    office.pass_time(2)
    assert office.news(alive) == {2: Mine()}
    assert office.totals() == Totals(presumed=5, reserved=10)
    # What it says after all is kept, and its money counted once.
    office.enter(dead, close(1, "d", answer=b'"late"', cost=5))
    assert office.totals() == Totals(presumed=5, reserved=10)
    assert office.store.answers(["d"]) == {"d": b'"late"'}


def test_nobody_is_presumed_dead_because_the_machine_slept(office: Office):
    office.enter(member("a"), Open(1, "k", 5))
    office.pass_time(5)
    office.now_s += 10 * PRESUMED_DEAD_S
    office.pass_time(20)
    assert office.totals() == Totals(reserved=5)
    office.pass_time(int(PRESUMED_DEAD_S))
    assert office.totals() == Totals(presumed=5)


def test_a_new_clerk_gives_owners_time_to_be_heard(office: Office):
    office.enter(member("a"), Open(1, "k", 5))
    office.now_s = 10 * PRESUMED_DEAD_S
    office.clerk = Clerk(office.store, office.now_s)
    office.clerk.tick(office.now_s + PRESUMED_DEAD_S / 2)
    assert office.totals() == Totals(reserved=5)


def test_a_run_that_is_continued_buries_its_earlier_session(office: Office):
    office.enter(member("old", session="1"), Open(1, "k", 5))
    office.enter(member("other", run="other", session="1"), Open(1, "o", 7))
    assert office.enter(member("new", session="2"), Open(1, "k", 5)) == {1: Mine()}
    assert office.totals() == Totals(presumed=5, reserved=5)
    assert office.totals("other") == Totals(reserved=7)
    # A worker of the earlier session that lives on for a moment takes nothing from the later one.
    office.enter(member("old", session="1"), Open(2, "l", 1))
    assert office.totals() == Totals(presumed=5, reserved=6)


def test_a_replay_asks_nobody(office: Office):
    office.enter(member("a"), Open(1, "k", 5), close(1))
    again = member("b", replay_only=True)
    said = office.enter(again, Open(1, "k", 5), Open(2, "absent", 5))
    assert said == {1: Stored(b"1"), 2: NotRecorded()}


def test_only_a_replay_sees_a_failure(office: Office):
    live, replay = member("live"), member("replay", replay_only=True)
    office.enter(live, Open(1, "k", 5), close(1, answer=None, failure=b'"bad"'))
    assert office.enter(replay, Open(1, "k", 5)) == {1: Failed(b'"bad"')}
    assert office.enter(live, Open(2, "k", 5)) == {2: Mine()}
    office.enter(live, close(2, answer=None, failure=b'"worse"'))
    assert office.enter(replay, Open(2, "k", 5)) == {2: Failed(b'"worse"')}
    office.enter(live, Open(3, "k", 5), close(3, answer=b'"good"'))
    assert office.enter(replay, Open(3, "k", 5)) == {3: Stored(b'"good"')}
    assert [row.failure for row in office.store.rows()] == [None]


def test_an_answer_that_does_not_fit_is_asked_for_again_and_replaced(office: Office):
    a, b, misfit = member("a"), member("b"), answer_digest(b'"old"')
    office.enter(a, Open(1, "k", 5), close(1, answer=b'"old"'))
    assert office.enter(a, Open(2, "k", 5, misfit)) == {2: Mine()}
    assert office.enter(b, Open(1, "k", 5, misfit), Open(2, "k", 5)) == {}
    office.enter(a, close(2, answer=b'"new"'))
    assert office.news(b) == {1: Stored(b'"new"'), 2: Stored(b'"new"')}
    assert office.enter(b, Open(3, "k", 5, misfit)) == {3: Stored(b'"new"')}
    assert office.store.answers(["k"]) == {"k": b'"new"'}


OWNERS, KEYS, BUDGET = ["a", "b", "c"], ["k1", "k2", "k3"], 30
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "open", "again", "close", "answer", "bury", "restart", "tick"]),
        st.sampled_from(OWNERS),
        st.sampled_from(KEYS),
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_order_of_events_spends_more_than_the_budget_or_forgets_who_waits(steps):
    """A model of honest owners: each closes what it got, for at most what it had reserved."""
    office = Office()
    waits: dict[tuple[str, int], Open | Again] = {}
    has: dict[tuple[str, int], tuple[str, int, int]] = {}  # key, attempts, reserved in all
    budgets = Budgets(run=BUDGET, study=BUDGET)

    def enter(owner: str, *entries) -> None:
        office.clerk.turn(member(owner, budgets=budgets), entries, office.now_s)
        hear()

    def hear() -> None:
        for owner in OWNERS:
            for ticket, verdict in office.clerk.take(owner):
                asked = waits.pop((owner, ticket), None)
                if asked is None or not isinstance(verdict, Mine):
                    continue
                _, attempts, reserved = has.get((owner, ticket), ("", 0, 0))
                has[owner, ticket] = asked.key, attempts + 1, reserved + asked.bound
        totals = office.totals()
        assert totals.spent + totals.presumed + totals.reserved <= BUDGET
        assert min(totals.spent, totals.presumed, totals.reserved) >= 0
        holders = [key for key, _, _ in has.values()]
        assert len(holders) == len(set(holders))

    def end(id_: tuple[str, int], share: int, answer: bytes | None) -> None:
        key, _, reserved = has.pop(id_)
        cost = min(share, reserved)
        enter(id_[0], Close(id_[1], key, answer, cost, (reserved - cost) // 2, None))

    for ticket, (verb, owner, key, bound, share) in enumerate(steps):
        mine = [id_ for id_ in has if id_[0] == owner and id_ not in waits]
        if verb == "open":
            waits[owner, ticket] = Open(ticket, key, bound)
            enter(owner, waits[owner, ticket])
        elif verb == "again" and mine:
            held, attempts, _ = has[mine[0]]
            waits[mine[0]] = Again(mine[0][1], held, attempts + 1, bound, None)
            enter(owner, waits[mine[0]])
        elif verb in ("close", "answer") and mine:
            end(mine[0], share, b"1" if verb == "answer" else None)
        elif verb == "bury":
            for lost in (waits, has):
                for id_ in [id_ for id_ in lost if id_[0] == owner]:
                    del lost[id_]
            enter("driver", Bury(owner))
        elif verb == "restart":
            office.clerk = Clerk(office.store, office.now_s)
            for (who, _), entry in list(waits.items()):
                enter(who, entry)
        elif verb == "tick":
            office.clerk.tick(office.now_s)
            hear()
    while ready := [id_ for id_ in has if id_ not in waits]:
        end(ready[0], 1, None)
    assert not waits
    assert not has
    assert office.totals().reserved == 0
    assert len(office.clerk._waiting) == 0
    office.store.close()
