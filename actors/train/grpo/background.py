"""Tasks of one event loop that fail together: after the first error there is no other answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Tasks, those that nobody waits for among them. Made within their event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over = asyncio.Event()
        self._error: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin some work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def answer(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What some work comes to. Raises the first error of any task, one before it included."""
        if not self._over.is_set():
            task, over = self.spawn(work()), asyncio.create_task(self._over.wait())
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            if not self._over.is_set():
                return task.result()
        raise self._error or RuntimeError("nothing is answered any more")

    async def over(self) -> None:
        """Wait for the first error."""
        await self._over.wait()

    async def end(self) -> None:
        """Cancel what is left, and wait until it is gone."""
        self._over.set()
        while tasks := set(self._tasks):
            await ended(*tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):  # of a task group
            error = error.exceptions[0]
        if error is not None:
            self._error = self._error or error
            self._over.set()


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are gone."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
