"""The requests of a stream whose answers lead to further requests."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable

from actors.pool.requests import ChatRequest


class Feed:
    """The first requests of questions from a source, and what their answers make necessary.

    `begin` makes the first request of a question. Follow-ups come first, so that what was begun
    ends before more is begun. The feed ends when the source has ended and every question that was
    begun is closed.
    """

    def __init__(
        self, questions: AsyncIterable[ChatRequest], begin: Callable[[ChatRequest], ChatRequest]
    ) -> None:
        self._questions, self._begin = questions, begin
        self._further: deque[ChatRequest] = deque()
        self._open = 0
        self._changed = asyncio.Event()

    def further(self, requests: Iterable[ChatRequest]) -> None:
        """Ask these too, for a question that is open."""
        self._further.extend(requests)
        self._changed.set()

    def close_one(self) -> None:
        """A question needs nothing more."""
        self._open -= 1
        self._changed.set()

    async def requests(self) -> AsyncGenerator[ChatRequest, None]:
        """What a pool's `complete` takes."""
        source = aiter(self._questions)
        pulling: asyncio.Task[ChatRequest | None] | None = None
        exhausted = False
        try:
            while self._further or self._open or not exhausted:
                if self._further:
                    yield self._further.popleft()
                    continue
                if pulling is None and not exhausted:
                    pulling = asyncio.create_task(_next(source))
                await self._change_or(pulling)
                if pulling is not None and pulling.done():
                    question, pulling = pulling.result(), None
                    exhausted = question is None
                    if question is not None:
                        self._open += 1
                        yield self._begin(question)
        finally:
            if pulling is not None:
                pulling.cancel()
                await asyncio.gather(pulling, return_exceptions=True)
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def _change_or(self, pulling: asyncio.Task[ChatRequest | None] | None) -> None:
        """Wait until the source gives one, or an answer changes what there is to ask."""
        changed = asyncio.create_task(self._changed.wait())
        try:
            awaited = {changed} if pulling is None else {changed, pulling}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            self._changed.clear()


async def _next(source: AsyncIterator[ChatRequest]) -> ChatRequest | None:
    return await anext(source, None)
