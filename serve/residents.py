"""An engine whose adapters come and go as they are asked for; the rules are in `residency`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import chain
from typing import Any

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.requests import BASE
from serve.residency import Granted, Load, Residency, Unload


class Residents:
    """Adapters in an engine; `fetch` brings one by its `name@version` or raises why it cannot."""

    def __init__(self, engine: Engine, fetch: Callable[[str], Awaitable[Adapter]]) -> None:
        self._engine, self._fetch = engine, fetch
        self._rules = Residency(engine.max_adapters)
        self._waiting: dict[object, asyncio.Future[None]] = {}  # by ticket
        self._moves: set[asyncio.Task[None]] = set()
        self._announced: dict[object, Sequence[str]] = {}  # by call
        self._gathering = asyncio.Lock()

    @property
    def names(self) -> list[str]:
        """Adapters that can be used at once."""
        return self._rules.resident()

    @property
    def wanted(self) -> list[str]:
        """Adapters that somebody waits for, or will."""
        return [*self._rules.wanted(), *chain.from_iterable(self._announced.values())]

    @contextmanager
    def announced(self, names: Sequence[str]) -> Iterator[None]:
        """These count as wanted, though they are used one after another inside of the block."""
        call = object()
        self._announced[call] = names
        try:
            yield
        finally:
            del self._announced[call]

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[None]:
        """The adapter is loaded inside of the block; it is waited for until it is."""
        if name == BASE:
            yield
            return
        async with self._ticket(name, pinned=False):
            yield

    @asynccontextmanager
    async def using_all(self, names: Sequence[str]) -> AsyncIterator[None]:
        """The same for several, at most as many as the engine has places."""
        async with AsyncExitStack() as stack:
            # One at a time gathers several: two that hold half each would wait for each other.
            async with self._gathering:
                tickets = [
                    await stack.enter_async_context(self._ticket(name, pinned=True))
                    for name in dict.fromkeys(names)
                    if name != BASE
                ]
                for ticket in tickets:
                    self._rules.unpin(ticket)
            self._go_on()
            yield

    def retire(self, names: Sequence[str]) -> None:
        """These are not asked for any more; they leave when they are no longer used."""
        for name in names:
            self._rules.drop(name)
        self._go_on()

    @asynccontextmanager
    async def _ticket(self, name: str, *, pinned: bool) -> AsyncIterator[object]:
        ticket, granted = object(), asyncio.get_running_loop().create_future()
        self._waiting[ticket] = granted
        self._rules.ask(ticket, name, pinned=pinned)
        self._go_on()
        try:
            await granted
            yield ticket
        finally:
            self._waiting.pop(ticket, None)
            self._rules.end(ticket)
            self._go_on()

    def _go_on(self) -> None:
        for action in self._rules.step():
            match action:
                case Granted(ticket):
                    self._tell(ticket, None)
                case Load(name):
                    self._begin(self._load(name))
                case Unload(name):
                    self._begin(self._unload(name))

    def _begin(self, move: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(move)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    def _tell(self, ticket: object, why_not: Exception | None) -> None:
        granted = self._waiting.pop(ticket)
        if granted.done():  # who asked has gone, and gives the ticket back
            return
        if why_not is None:
            granted.set_result(None)
        else:
            granted.set_exception(why_not)

    async def _load(self, name: str) -> None:
        try:
            await self._engine.load(name, await self._fetch(name))
        except Exception as error:  # it belongs to those who wait for this adapter
            for ticket in self._rules.failed(name):
                self._tell(ticket, error)
        else:
            self._rules.loaded(name)
        self._go_on()

    async def _unload(self, name: str) -> None:
        try:
            await self._engine.unload(name)
        except Exception:  # nobody waits for it; an engine that is broken is told by its health
            logging.getLogger(__name__).exception("%s could not be unloaded", name)
        self._rules.unloaded(name)
        self._go_on()
