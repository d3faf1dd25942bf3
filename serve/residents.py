"""An engine whose adapters come and go as they are asked for (the rules are in `residency`)."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.requests import BASE
from serve.residency import Move, Residency


class Residents:
    """Adapters in an engine; `fetch` brings one by its `name@version` or raises why it cannot."""

    def __init__(self, engine: Engine, fetch: Callable[[str], Awaitable[Adapter]]) -> None:
        self._engine, self._fetch = engine, fetch
        self._rules = Residency(engine.max_adapters)
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._moves: set[asyncio.Task[None]] = set()
        self._gathering = asyncio.Lock()

    @property
    def names(self) -> list[str]:
        """Adapters that can be used at once."""
        return self._rules.resident

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[None]:
        """The adapter is loaded inside of the block; it is waited for until it is."""
        if name == BASE:
            yield
            return
        await self._enter(name)
        try:
            yield
        finally:
            self._rules.leave(name)
            self._begin_moves()

    @asynccontextmanager
    async def using_all(self, names: Sequence[str]) -> AsyncIterator[None]:
        """The same for several, at most as many as the engine has places."""
        async with AsyncExitStack() as stack:
            # One at a time gathers several: two that hold half each would wait for each other.
            async with self._gathering:
                for name in dict.fromkeys(names):
                    await stack.enter_async_context(self.using(name))
            yield

    def retire(self, names: Sequence[str]) -> None:
        """These are not asked for any more; they leave when they are no longer used."""
        for name in names:
            self._rules.retire(name)
        self._begin_moves()

    async def _enter(self, name: str) -> None:
        if self._rules.enter(name):
            return
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name].append(ready)
        self._begin_moves()
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and ready.exception() is None:
                self._rules.leave(name)  # it had come in, in the same moment
                self._begin_moves()
            elif ready in self._waiting[name]:
                self._waiting[name].remove(ready)
                self._rules.give_up(name)
            raise

    def _begin_moves(self) -> None:
        while (move := self._rules.next_move()) is not None:
            task = asyncio.create_task(self._make(move))
            self._moves.add(task)
            task.add_done_callback(self._moves.discard)

    async def _make(self, move: Move) -> None:
        if move.what == "unload":
            await self._engine.unload(move.name)
            self._rules.unloaded(move.name)
        else:
            await self._load(move.name)
        self._begin_moves()

    async def _load(self, name: str) -> None:
        try:
            await self._engine.load(name, await self._fetch(name))
        except Exception as error:  # it belongs to those who wait for this adapter
            told, why = self._rules.failed(name), error
        else:
            told, why = self._rules.loaded(name), None
        for _ in range(told):
            ready = self._waiting[name].popleft()
            if why is None:
                ready.set_result(None)
            else:
                ready.set_exception(why)
        if not self._waiting[name]:
            del self._waiting[name]
