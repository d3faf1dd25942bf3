"""The books over a real Ray: several owners, actors that are killed, budgets under load."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import ray

from actors.pool.books.actor import books_actor
from actors.pool.books.at import BooksAt
from actors.pool.books.client import Books, Broke, Mine, NotRecorded, Stored
from configs.errors import UserError

pytestmark = pytest.mark.usefixtures("ray_cluster")


def at(
    storage: Path,
    run_id: str = "run",
    session: str = "1",
    budget_usd: float | None = None,
    replay_only: bool = False,
) -> BooksAt:
    return BooksAt(str(storage), run_id, session, budget_usd, None, replay_only)


def owner_elsewhere(place: BooksAt, name: str) -> Any:
    """An owner in a process of its own, which can be killed."""

    @ray.remote(num_cpus=0)
    class Owner:
        async def open(self, key: str, bound_usd: float) -> object:
            self._books = Books(place, name)
            return await self._books.open(key, bound_usd)

        async def pid(self) -> int:
            return os.getpid()

    return cast(Any, Owner).remote()


async def actor_pid(place: BooksAt) -> int:
    """The process of the books' actor."""
    return await books_actor(place).__ray_call__.remote(lambda self: os.getpid())


async def kill_actor(place: BooksAt) -> None:
    os.kill(await actor_pid(place), signal.SIGKILL)


async def waits(call: Awaitable[object]) -> asyncio.Task:
    """A task on `call`, which has reached the books and has no verdict."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0.3)  # time to answer, if it were to: no test depends on it
    assert not task.done()
    return task


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), timeout=60))


def test_one_call_for_two_clients(tmp_path: Path):
    async def scene() -> None:
        a, b = Books(at(tmp_path), "a"), Books(at(tmp_path, "other run"), "b")
        assert await a.open("k", 0.01) == Mine()
        second = await waits(b.open("k", 0.01))
        assert await b.open("another", 0.01) == Mine()  # who waits holds nobody up
        a.close("k", b'"yes"', 0.004, 0.0)
        assert await second == Stored(b'"yes"')
        assert await a.open("k", 0.01) == Stored(b'"yes"')
        assert (await a.spent()).run_usd == 0.004
        b.close("another", None, 0.0, 0.002)
        spent = await b.spent()
        assert (spent.run_usd, spent.run_presumed_usd, spent.study_usd) == (0.0, 0.002, 0.006)
        await a.aclose()
        await b.aclose()

    play(scene)


def test_an_owner_that_dies_leaves_its_call_to_the_next(tmp_path: Path):
    async def scene() -> None:
        driver = Books(at(tmp_path), "driver")
        doomed = owner_elsewhere(at(tmp_path), "doomed")
        assert await doomed.open.remote("k", 0.5) == Mine()
        second = await waits(driver.open("k", 0.25))
        os.kill(await doomed.pid.remote(), signal.SIGKILL)
        await driver.bury("doomed")
        assert await second == Mine()
        driver.close("k", b"1", 0.25, 0.0)
        spent = await driver.spent()
        assert (spent.run_usd, spent.run_presumed_usd) == (0.25, 0.5)
        await driver.aclose()

    play(scene)


def test_a_killed_actor_loses_nothing(tmp_path: Path):
    place = at(tmp_path, budget_usd=1.0)

    async def scene() -> None:
        a, b = Books(place, "a"), Books(place, "b")
        assert await a.open("done", 0.5) == Mine()
        a.close("done", b'"kept"', 0.25, 0.0)
        await a.flush()
        assert await a.open("in flight", 0.5) == Mine()
        same = await waits(b.open("in flight", 0.5))
        dear = await waits(b.open("dear", 0.5))  # 0.25 spent, 0.5 held
        await kill_actor(place)
        assert await b.open("done", 0.5) == Stored(b'"kept"')
        assert not same.done()
        assert not dear.done()
        assert isinstance(await b.open("too dear", 0.8), Broke)
        await kill_actor(place)
        a.close("in flight", b'"late"', 0.25, 0.0)
        await a.flush()
        assert await same == Stored(b'"late"')
        assert await dear == Mine()
        b.close("dear", None, 0.0, 0.5)
        spent = await b.spent()
        assert (spent.run_usd, spent.run_presumed_usd) == (0.5, 0.5)
        await a.aclose()
        await b.aclose()

    play(scene)


def test_a_continued_run_counts_what_its_earlier_session_had_in_flight(tmp_path: Path):
    async def scene() -> None:
        first = Books(at(tmp_path, budget_usd=1.0), "first")
        assert await first.open("k", 0.75) == Mine()
        second = Books(at(tmp_path, session="2", budget_usd=1.0), "second")
        assert await second.open("k", 0.25) == Mine()
        assert (await second.spent()).run_presumed_usd == 0.75
        assert isinstance(await second.open("other", 0.5), Broke)
        await second.aclose()
        await first.aclose()

    play(scene)


def test_a_cap_with_many_calls_in_flight(tmp_path: Path):
    """200 clients' worth of calls at once, half of which fail: never more than the cap is out."""
    place = at(tmp_path, budget_usd=1.0)
    out_usd, billed_usd, answered, broke = 0.0, 0.0, 0, 0

    async def call(books: Books, number: int) -> None:
        nonlocal out_usd, billed_usd, answered, broke
        if isinstance(await books.open(f"k{number}", 0.01), Broke):
            broke += 1
            return
        out_usd += 0.01
        assert billed_usd + out_usd < 1.0 + 1e-9
        await asyncio.sleep(0.01)
        failed = number % 2 == 0
        if failed and isinstance(await books.again(f"k{number}", 0.01, 0.002), Broke):
            out_usd, billed_usd = out_usd - 0.01, billed_usd + 0.002
            books.close(f"k{number}", None, 0.0, 0.002)
            return
        cost_usd = 0.006 if failed else 0.004
        out_usd, billed_usd, answered = out_usd - 0.01, billed_usd + cost_usd, answered + 1
        books.close(f"k{number}", b"1", cost_usd, 0.0)

    async def scene() -> None:
        owners = [Books(place, f"owner {i}") for i in range(2)]
        await asyncio.gather(*(call(owners[n % 2], n) for n in range(400)))
        spent = await owners[0].spent()
        for books in owners:
            await books.aclose()
        assert spent.run_usd + spent.run_presumed_usd == pytest.approx(billed_usd)
        assert 0.98 < billed_usd <= 1.0
        assert answered > 150
        assert broke > 100

    play(scene)


def test_who_gives_up_waiting_is_forgotten(tmp_path: Path):
    async def scene() -> None:
        place = at(tmp_path, budget_usd=1.0)
        a, b = Books(place, "a"), Books(place, "b")
        assert await a.open("k", 0.75) == Mine()
        for key in ("k", "too dear for now"):
            waiting = await waits(b.open(key, 0.5))
            waiting.cancel()
            await asyncio.wait([waiting])
        await b.flush()
        a.close("k", None, 0.0, 0.0)
        await a.flush()
        assert await a.open("all", 1.0) == Mine()
        await a.aclose()
        await b.aclose()

    play(scene)


def test_a_replay_has_only_what_is_recorded(tmp_path: Path):
    async def scene() -> None:
        a, replay = Books(at(tmp_path), "a"), Books(at(tmp_path, replay_only=True), "replay")
        await a.open("k", 0.0)
        a.close("k", b"1", 0.0, 0.0)
        await a.flush()
        assert await replay.open("k", 0.0) == Stored(b"1")
        assert await replay.open("absent", 0.0) == NotRecorded()
        await a.aclose()
        await replay.aclose()

    play(scene)


def test_a_file_that_is_no_database_is_a_plain_error(tmp_path: Path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "calls.sqlite").write_text("not a database, but long enough to be read")

    async def scene() -> None:
        with pytest.raises(UserError, match=r"calls\.sqlite cannot be used"):
            await Books(at(tmp_path), "a").open("k", 0.0)

    play(scene)


def test_a_stream_of_stored_answers_leaves_nothing_in_the_client(tmp_path: Path):
    async def scene() -> None:
        books = Books(at(tmp_path), "a")
        await books.open("k", 0.0)
        books.close("k", b"1", 0.0, 0.0)
        await books.flush()
        for _ in range(5):
            found = await asyncio.gather(*(books.open("k", 0.0) for _ in range(400)))
            assert set(found) == {Stored(b"1")}
        await books.aclose()

    play(scene)
