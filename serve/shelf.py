"""The shelf: one actor that knows which adapters a server has, and holds them for its replicas.

Replicas follow it by long polls. A change is answered when every replica that is alive has seen
it: after a load or an unload, no replica resolves a name in the old way. A replica fetches an
adapter when it is first asked for it, so one that Serve replaces, or one that had to make room,
comes back to it, and no disk needs to be shared.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.lm.adapter import Adapter
from actors.lm.engine import EngineStats
from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE
from serve.calls import Refusal
from serve.paths import read_within
from serve.registry import Registry
from serve.versions import Versions

_NAMESPACE = "shelves"  # every driver has one of its own, in which others do not see its actors
_POLL_S = 1.0  # an answer to a poll waits so long for news
LEASE_S = 5.0  # a replica that has not polled for so long is gone, and must not trust what it saw


class View(NamedTuple):
    """What can be asked: `name@version` -> digest, and how many changes came before.

    `asleep` says that engines are to leave their devices to somebody else.
    """

    serial: int
    digests: dict[str, str]
    asleep: bool = False


class Watcher(NamedTuple):
    """A replica, as of its last poll."""

    seen: int
    polled_s: float
    stats: EngineStats
    resident: list[str]
    wanted: list[str]  # somebody waits for these to be loaded
    asleep: bool


class Leaving(NamedTuple):
    """An adapter that was removed, for those who asked before they knew."""

    serial: int  # of the removal
    reference: Any


class Holdings(NamedTuple):
    """What a shelf may take: from which storage root, None for no paths at all, and how large."""

    storage: str | None = None
    max_adapter_bytes: int = 2**30


class AdapterShelf:
    """Adapters by `name@version`. Refusals are values, as in a replica."""

    def __init__(
        self,
        base_names: Collection[str],
        holdings: Holdings,
        clock: Callable[[], float] = time.monotonic,
        keep: Callable[[Adapter], Any] = ray.put,
    ) -> None:
        self._holdings, self._keep = holdings, keep
        self._versions = Versions(holdings.storage)
        self._registry = Registry(base_names, self._versions.read())
        self._adapters: dict[str, Any] = {}  # name@version -> reference to the adapter
        self._leaving: dict[str, Leaving] = {}
        self._watchers: dict[str, Watcher] = {}
        self._asleep = False
        self._serial, self._clock = 0, clock
        self._news = asyncio.Condition()

    async def reserve(self, name: str, source: Adapter | str) -> str | Refusal:
        """Hold an adapter under the `name@version` that it gets; nobody can ask for it yet.

        A source that is not the adapter itself is its path under the storage root.
        """
        try:
            adapter = await asyncio.to_thread(self._checked, source)
            full = self._registry.reserve(name, adapter.digest)
            while not self._versions.write(full, adapter.digest):
                self._registry = self._with_news_of_others()
                full = self._registry.reserve(name, adapter.digest)
            if full in self._adapters:  # its end is the other caller's to tell
                raise RefusedAdapter(f'"{name}" is being loaded with this content, as {full}')
        except RefusedAdapter as error:
            return Refusal(error)
        self._adapters[full] = self._keep(adapter)
        return full

    async def publish(self, full: str) -> Refusal | None:
        """Let it be asked for."""
        if full not in self._adapters:
            return Refusal(RefusedAdapter(f'"{full}" is not held any more; load it again'))
        self._registry.publish(full)
        await self._changed()
        return None

    async def give_up(self, full: str) -> None:
        """A reserved adapter was refused; its version stays used."""
        if full not in self._registry.digests():
            self._adapters.pop(full, None)

    async def remove(self, name: str) -> list[str] | Refusal:
        """Take away `name@version`, or all versions of `name`.

        Replicas may still fetch what somebody asked them for before they saw that it is gone.
        """
        try:
            gone = self._registry.remove(name)
        except (UnknownAdapter, RefusedAdapter) as error:
            return Refusal(error)
        for full in gone:
            self._leaving[full] = Leaving(self._serial + 1, self._adapters.pop(full))
        await self._changed()
        return gone

    async def fetch(self, full: str) -> list[Any] | Refusal:
        """A reference to an adapter, in a list so that Ray hands it on as it is."""
        if full in self._adapters:
            return [self._adapters[full]]
        if full in self._leaving:
            return [self._leaving[full].reference]
        return Refusal(UnknownAdapter(full, [BASE, *self._registry.digests()]))

    async def rest(self, asleep: bool) -> None:
        """Have every replica's engine asleep, or awake, also those that are yet to come."""
        self._asleep = asleep
        await self._changed()
        await self._until(lambda: all(one.asleep == asleep for one in self._alive()))

    async def attend(self) -> None:
        """Who is answered knows that the shelf lives."""

    async def watch(
        self,
        replica: str,
        seen: int,
        stats: EngineStats,
        resident: list[str],
        wanted: list[str],
        asleep: bool,
    ) -> View:
        """What there is, as soon as it is more than `seen`, or after a while."""
        self._watchers[replica] = Watcher(seen, self._clock(), stats, resident, wanted, asleep)
        self._let_go()
        async with self._news:
            self._news.notify_all()  # who waits for this replica to have seen a change
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._news.wait_for(lambda: self._serial > seen)
        return View(self._serial, self._registry.digests(), self._asleep)

    async def settled(self, replica: str, asleep: bool) -> None:
        """A replica's engine has fallen asleep, or is awake again."""
        if replica in self._watchers:
            self._watchers[replica] = self._watchers[replica]._replace(asleep=asleep)
        async with self._news:
            self._news.notify_all()

    async def roll_call(self) -> dict[str, Watcher]:
        """The replicas that answer, with what they tell just now."""
        called = self._serial + 1
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await self._changed()
        return {name: one for name, one in self._watchers.items() if one.seen >= called}

    async def _changed(self) -> None:
        """Until every replica has polled since, or is gone."""
        async with self._news:
            self._serial += 1
            changed = self._serial
            self._news.notify_all()
        await self._until(lambda: not self._is_behind(changed))

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Looks again at every news, and now and then: a replica may be gone."""
        while not holds():
            async with self._news:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._news.wait()

    def _is_behind(self, serial: int) -> bool:
        return any(one.seen < serial for one in self._alive())

    def _alive(self) -> Iterable[Watcher]:
        oldest_s = self._clock() - LEASE_S
        self._watchers = {k: one for k, one in self._watchers.items() if one.polled_s > oldest_s}
        return self._watchers.values()

    def _let_go(self) -> None:
        """Of removed adapters that nobody waits for, or will."""
        for full, one in list(self._leaving.items()):
            if self._is_behind(one.serial):
                continue
            if not any(full in watcher.wanted for watcher in self._watchers.values()):
                del self._leaving[full]

    def _checked(self, source: Adapter | str) -> Adapter:
        """The adapter with its digest computed; beside the event loop, for it may be large."""
        most, root = self._holdings.max_adapter_bytes, self._holdings.storage
        if isinstance(source, str):
            if root is None:
                raise RefusedAdapter(f"{source}: this server has no storage root to read from")
            source = read_within(source, root, most)
        size = sum(tensor.nbytes for tensor in source.tensors.values())
        if size > most:
            raise RefusedAdapter(f"the adapter has {size:,} bytes; this server takes {most:,}")
        _ = source.digest  # from now on it is known
        return source

    def _with_news_of_others(self) -> Registry:
        """The registry anew, with what other servers on the storage root have given out."""
        registry = Registry(self._registry.reserved, self._versions.read())
        for full in self._registry.digests():
            registry.publish(full)
        return registry


def start_shelf(server: str, base_names: Collection[str], holdings: Holdings) -> Any:
    """The handle of a server's new shelf, which lives no longer than this driver.

    It is on this node, where a storage root means what it means here.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(AdapterShelf).options(
        name=server, namespace=_NAMESPACE, num_cpus=0, scheduling_strategy=here
    )
    return actor.remote(base_names, holdings)


def is_shelf_alive(server: str) -> bool:
    """Whether a server of the cluster, anybody's, has its shelf."""
    try:
        ray.get_actor(server, namespace=_NAMESPACE)
    except ValueError:
        return False
    return True
