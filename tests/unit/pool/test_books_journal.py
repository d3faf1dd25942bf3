"""Books off the disk: what one machine wrote is read by the next, and no dollar counts twice."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.pool.books.clerk import Clerk
from actors.pool.books.entries import Close, Member, Mine, Open
from actors.pool.books.journal import Journal, open_books
from actors.pool.books.ledger import Budgets, Totals
from actors.pool.books.store import Store
from actors.store.storage import Storage

A = Member("a", "run", "s", Budgets())


@pytest.fixture
def root() -> Iterator[str]:
    root = f"memory://{uuid.uuid4().hex}"
    yield root
    storage = Storage(root)
    if storage.exists(""):
        storage.fs.rm(storage.root, recursive=True)


def machine(root: str, path: Path | str = ":memory:") -> tuple[Store, Journal, Clerk]:
    store = Store(path)
    return store, Journal(store, Storage(root)), Clerk(store, 0.0)


def test_another_machine_reads_what_was_written(root: str):
    _, journal, clerk = machine(root)
    clerk.turn(A, [Open(1, "k", 10), Close(1, "k", b'"yes"', 7, 0, None), Open(2, "l", 5)], 0.0)
    journal.save()
    store, journal, _ = machine(root)
    assert store.answers(["k", "l"]) == {"k": b'"yes"'}
    assert store.ledger().runs == {"run": Totals(spent=7, presumed=5)}  # of 2 nobody will hear
    assert journal.next_part() is None  # what was read is not written again


def test_a_part_that_is_read_or_written_twice_changes_nothing(root: str, tmp_path: Path):
    store, journal, clerk = machine(root, tmp_path / "a.sqlite")
    clerk.turn(A, [Open(1, "k", 10), Close(1, "k", b"1", 7, 0, None)], 0.0)
    part = journal.next_part()
    assert part is not None
    journal.write(part)  # and then it was killed
    store.close()
    store, journal, clerk = machine(root, tmp_path / "a.sqlite")
    clerk.turn(A, [Open(2, "l", 10), Close(2, "l", b"2", 1, 0, None)], 0.0)
    journal.save()
    journal.save()
    for _ in range(2):
        read, _, _ = machine(root, tmp_path / "b.sqlite")
        assert read.ledger().study == Totals(spent=8)
        assert read.answers(["k", "l"]) == {"k": b"1", "l": b"2"}
        read.close()


def test_a_row_that_is_replaced_while_its_part_is_written_is_written_too(root: str):
    _, journal, clerk = machine(root)
    clerk.turn(A, [Open(1, "k", 0), Close(1, "k", None, 0, 0, None, b'"bad"')], 1.0)
    part = journal.next_part()
    assert part is not None
    clerk.turn(A, [Open(2, "k", 0), Close(2, "k", b'"good"', 0, 0)], 2.0)
    journal.write(part)
    journal.written(part)
    assert machine(root)[0].failure("k") == b'"bad"'
    journal.save()
    for _ in range(2):
        read, _, _ = machine(root)
        assert read.answers(["k"]) == {"k": b'"good"'}
        assert read.failure("k") is None


def test_a_root_on_a_disk_needs_no_journal(tmp_path: Path):
    store, journal = open_books(str(tmp_path))
    assert journal is None
    clerk = Clerk(store, 0.0)
    clerk.turn(A, [Open(1, "k", 10)], 0.0)
    assert clerk.take("a") == [(1, Mine())]
    assert (tmp_path / "pool" / "calls.sqlite").exists()


def test_a_root_that_is_no_disk_survives_a_kill_on_this_machine(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store, journal = open_books(root)
    assert journal is not None
    Clerk(store, 0.0).turn(A, [Open(1, "k", 10)], 0.0)
    store.close()
    store, _ = open_books(root)
    assert store.ledger().study == Totals(reserved=10)
    Clerk(store, 0.0).turn(A, [Open(1, "k", 10)], 0.0)
    assert store.ledger().study == Totals(reserved=10)
