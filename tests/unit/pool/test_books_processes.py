"""Clerks of several processes on one file: one budget, one answer, nothing lost."""

import multiprocessing
from pathlib import Path

from actors.pool.books.clerk import Clerk
from actors.pool.books.entries import Broke, Close, Member, Mine, Open, Stored
from actors.pool.books.ledger import Budgets, Totals
from actors.pool.books.store import Row, Store

BUDGET, BOUND, CALLS = 1000, 10, 150


def spend(path: Path, name: str, start) -> None:
    """Make calls until the budget is used up; each costs its whole bound."""
    start.wait()
    clerk = Clerk(Store(path), 0.0)
    who = Member(name, name, "s", Budgets(study=BUDGET))
    for ticket in range(CALLS):
        key = f"{name} {ticket}"
        clerk.turn(who, [Open(ticket, key, BOUND)], 0.0)
        while not (said := clerk.take(name)):
            clerk.tick(0.0)  # the money is held by the other process
        if isinstance(said[0][1], Broke):
            return
        clerk.turn(who, [Close(ticket, key, b"1", BOUND, 0, None)], 0.0)


def test_two_processes_share_one_budget(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    path, start = tmp_path / "new" / "calls.sqlite", context.Barrier(2)
    processes = [context.Process(target=spend, args=(path, name, start)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    store = Store(path)
    assert store.ledger().study == Totals(spent=BUDGET)
    assert sum(1 for _ in store.rows()) == BUDGET // BOUND


def test_a_call_that_another_process_makes_is_waited_for(tmp_path: Path):
    path = tmp_path / "calls.sqlite"
    here, there = Clerk(Store(path), 0.0), Clerk(Store(path), 0.0)
    a, b = Member("a", "run a", "s", Budgets()), Member("b", "run b", "s", Budgets())
    here.turn(a, [Open(1, "answered", 1), Open(2, "failed", 1)], 0.0)
    assert here.take("a") == [(1, Mine()), (2, Mine())]
    there.turn(b, [Open(1, "answered", 1), Open(2, "failed", 1)], 0.0)
    there.tick(0.0)
    assert there.take("b") == []
    done = [Close(1, "answered", b"1", 1, 0, None), Close(2, "failed", None, 0, 0, None)]
    here.turn(a, done, 0.0)
    there.tick(0.0)
    assert sorted(there.take("b"), key=lambda said: said[0]) == [(1, Stored(b"1")), (2, Mine())]


def test_an_answer_stored_by_another_process_is_found(tmp_path: Path):
    path = tmp_path / "calls.sqlite"
    clerk, other = Clerk(Store(path), 0.0), Store(path)
    with other.writing():
        assert other.put(Row("k", "p", "m", None, b"1", 0.0))
        assert not other.put(Row("k", "p", "m", None, b"2", 0.0))
    clerk.turn(Member("a", "run", "s", Budgets()), [Open(1, "k", 5)], 0.0)
    assert clerk.take("a") == [(1, Stored(b"1"))]
