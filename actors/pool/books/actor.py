"""The one process of a cluster that writes the books of a storage root: a named Ray actor.

It lives as long as the process that made it, and is started again when it is killed; after its
maker's end whoever needs it next makes the next one.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import ray
from ray.util.metrics import Counter
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.pool.books.at import BooksAt
from actors.pool.books.clerk import Clerk
from actors.pool.books.entries import Entry, Member, Said, Spent
from actors.pool.books.journal import open_books
from actors.pool.books.ledger import Totals, in_usd
from actors.store.storage import Storage
from configs.base import digest

LISTEN_S = 10.0  # an owner that waits is answered after so long, be it with nothing
_NAMESPACE = "hothouse"
_TICK_S = 1.0
_TICKS_PER_PART = 10  # of the journal: an object store is not meant for many small files
_MAX_LISTENERS = 10_000
_log = logging.getLogger(__name__)


class BooksActor:
    """A clerk with a door: all methods run in one event loop, and so in one thread."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._clerk: Clerk | None = None
        self._listeners: dict[str, asyncio.Event] = {}
        self._saving = asyncio.Lock()

    async def turn(self, member: Member, entries: Sequence[Entry]) -> list[Said]:
        """Enter a batch; what there is to say to its owner by now."""
        self._open().turn(member, entries, time.time())
        self._announce()
        return self._open().take(member.owner)

    async def listen(self, member: Member) -> list[Said]:
        """What there is to say to an owner once there is something; nothing after `LISTEN_S`."""
        clerk = self._open()
        clerk.turn(member, [], time.time())
        event = self._listeners[member.owner] = asyncio.Event()
        if not clerk.has_news(member.owner):
            await asyncio.wait([asyncio.ensure_future(event.wait())], timeout=LISTEN_S)
            event.set()
        if self._listeners.get(member.owner) is not event:
            return []  # the owner, after a fault between us, listens anew
        del self._listeners[member.owner]
        return clerk.take(member.owner)

    async def spent(self, run_id: str) -> Spent:
        """Dollars of a run and of all."""
        self._open()
        ledger = self._store.ledger()
        run, study = ledger.runs.get(run_id, Totals()), ledger.study
        return Spent(in_usd(run.spent), in_usd(run.presumed), in_usd(study.spent + study.presumed))

    async def save(self) -> None:
        """Write the journal, where there is one."""
        self._open()
        self._meter()
        if self._journal is None:
            return
        async with self._saving:
            while (part := self._journal.next_part()) is not None:
                await asyncio.to_thread(self._journal.write, part)
                self._journal.written(part)

    def _open(self) -> Clerk:
        """The clerk. Opened on first use: what is wrong with the file is then told as it is."""
        if self._clerk is None:
            self._store, self._journal = open_books(self._root)
            self._clerk = Clerk(self._store, time.time())
            self._hits = Counter("hothouse_pool_cache_hits_total", "calls answered from the books")
            self._cost = Counter("hothouse_pool_cost_usd_total", "dollars that calls cost")
            self._ticking = asyncio.get_running_loop().create_task(self._tick())
        return self._clerk

    def _announce(self) -> None:
        clerk = self._open()
        for owner, event in self._listeners.items():
            if clerk.has_news(owner):
                event.set()

    def _meter(self) -> None:
        hits, cost = self._open().take_figures()
        if hits:
            self._hits.inc(hits)
        if cost:
            self._cost.inc(in_usd(cost))

    async def _tick(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(_TICK_S)
            await self._try(self._look)
            if number % _TICKS_PER_PART == 0:
                await self._try(self.save)

    async def _look(self) -> None:
        self._open().tick(time.time())
        self._announce()
        self._meter()

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        """One step of a tick; the next one comes whatever becomes of it."""
        try:
            await step()
        # A busy file, an object store that is away: it may raise what it likes. Nothing is lost
        # that the next step does not make good, and who closes the books is told what is amiss.
        except Exception as error:
            _log.warning("The books of %s: %s", self._root, error)


_Remote = ray.remote(num_cpus=0)(BooksActor)


def books_actor(at: BooksAt) -> Any:
    """A handle on the actor of a storage root, which is made where there is none.

    Raises:
        ValueError: the name is taken by an actor that is just ending.
    """
    strategy: Any = "DEFAULT"
    if at.node_id is not None:
        # The next actor finds there what the last one wrote; off the disk it can do without.
        elsewhere = not Storage(at.storage).is_local
        strategy = NodeAffinitySchedulingStrategy(at.node_id, soft=elsewhere)
    return _Remote.options(
        name=f"books-{digest(at.storage)[:16]}",
        namespace=_NAMESPACE,
        get_if_exists=True,
        max_concurrency=_MAX_LISTENERS,
        # Were it dead for good, its name would stay taken while its maker holds a handle on it.
        max_restarts=-1,
        scheduling_strategy=strategy,
    ).remote(at.storage)
