"""An engine on an event loop of its own, which outlives the loops of the tests that ask it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine, EngineStats, Limits, OnPiece
from actors.lm.requests import BASE, Question, Sample, SampleRequest, Scores

T = TypeVar("T")


class LoopedEngine:
    """Hands every verb over to the engine's loop; a caller that goes away is told to it."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine, self._loop = engine, loop

    @property
    def limits(self) -> Limits:
        return self.engine.limits

    @property
    def max_adapters(self) -> int:
        return self.engine.max_adapters

    async def load(self, name: str, adapter: Adapter) -> str:
        return await self.there(self.engine.load(name, adapter))

    async def unload(self, name: str) -> None:
        await self.there(self.engine.unload(name))

    async def sample(
        self, requests: Sequence[SampleRequest], on_piece: OnPiece | None = None
    ) -> list[Sample]:
        return await self.there(self.engine.sample(requests, on_piece))

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        return await self.there(self.engine.score(adapters, questions))

    async def sleep(self) -> None:
        await self.there(self.engine.sleep())

    async def wake(self) -> None:
        await self.there(self.engine.wake())

    def adapters(self) -> dict[str, str]:
        return self.engine.adapters()

    def stats(self) -> EngineStats:
        return self.engine.stats()

    def check_alive(self) -> None:
        self.engine.check_alive()

    async def close(self) -> None:
        """The fixture closes it; what a test loaded is dropped."""
        await self.forget()

    async def forget(self) -> None:
        """Unload everything."""
        for name in [name for name in self.adapters() if name != BASE]:
            await self.unload(name)

    async def there(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result, computed on the engine's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


@contextmanager
def looped(start: Callable[[], Engine]) -> Iterator[LoopedEngine]:
    """Start an engine, and a loop for it in a thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    engine = start()
    try:
        yield LoopedEngine(engine, loop)
    finally:
        asyncio.run_coroutine_threadsafe(engine.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
