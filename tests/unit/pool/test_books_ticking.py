"""The books' actor without a Ray around it: it goes on ticking, whatever befalls it."""

import asyncio
import gzip
import sqlite3
import time
import uuid
from pathlib import Path

import fsspec
import pytest

from actors.pool.books import actor as actor_module
from actors.pool.books.actor import BooksActor
from actors.pool.books.entries import Bury, Close, Member, Mine, Open
from actors.pool.books.journal import open_books
from actors.pool.books.ledger import Budgets

A, B = (Member(name, name, "s", Budgets()) for name in ("a", "b"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(actor_module, "_TICK_S", 0.01)
    monkeypatch.setattr(actor_module, "_TICKS_PER_PART", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


async def until(happened) -> None:
    """Wait for it, for as long as a test may take."""
    give_up_s = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < give_up_s
        await asyncio.sleep(0.01)


def test_an_object_store_that_was_away_gets_its_part_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    root = f"memory://{uuid.uuid4().hex}"
    fs, plain = fsspec.core.url_to_fs(root)
    is_away = True
    pipe_file = type(fs).pipe_file

    def pipe(self, *arguments, **options) -> None:
        if is_away:
            raise RuntimeError("the bucket is away")
        pipe_file(self, *arguments, **options)

    monkeypatch.setattr(type(fs), "pipe_file", pipe)

    async def scene() -> None:
        nonlocal is_away
        books = BooksActor(root)
        await books.turn(A, [Open(1, "k", 0), Close(1, "k", b"1", 0, 0)])
        await until(lambda: caplog.text.count("the bucket is away") > 1)
        is_away = False
        await until(lambda: fs.exists(f"{plain}/pool/calls"))
        await books.save()
        books._ticking.cancel()

    asyncio.run(scene())
    (part,) = fs.ls(f"{plain}/pool/calls", detail=False)
    assert b'"answer": 1' in gzip.decompress(fs.cat_file(part))
    fs.rm(plain, recursive=True)


def test_a_file_that_was_busy_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    monkeypatch.setattr("actors.pool.books.store._BUSY_S", 0.01)

    async def scene() -> None:
        books, other = BooksActor(str(tmp_path)), BooksActor(str(tmp_path))
        assert await books.turn(A, [Open(1, "k", 0)]) == [(1, Mine())]
        assert await other.turn(B, [Open(1, "k", 0)]) == []
        store, _ = open_books(str(tmp_path))
        store.db.execute("BEGIN IMMEDIATE")
        await until(lambda: "database is locked" in caplog.text)
        store.db.execute("ROLLBACK")
        store.close()
        await books.turn(A, [Bury("a")])
        await until(lambda: other._open().has_news("b"))
        assert await other.turn(B, []) == [(1, Mine())]
        for each in (books, other):
            each._ticking.cancel()

    asyncio.run(scene())
    with sqlite3.connect(tmp_path / "pool" / "calls.sqlite") as db:
        assert db.execute("SELECT owner FROM holds").fetchall() == [("b",)]
