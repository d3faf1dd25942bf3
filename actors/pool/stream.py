"""One `complete` on the driver's side: requests pulled as there is room, outcomes as they finish.

A request is pulled only when there is room for its outcome, so a producer of a million requests is
never more than a window ahead of the consumer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Literal

from actors.pool.crew import Crew
from actors.pool.requests import ChatRequest, Failure, Outcome
from actors.pool.worker import Handed, Ticket
from configs.errors import JobFailed

Requests = Iterable[ChatRequest] | AsyncIterable[ChatRequest]
OnError = Literal["continue", "stop"]


class Stream:
    """The calls of one `complete`, made by a crew that it shares with others.

    When something is raised (a fault that no retry mends, the producer's own error, a first failure
    where that is to stop all), nothing new is sent, but answers on the wire are still handed over:
    they are paid for. Then it is raised to the consumer.
    """

    def __init__(
        self, number: int, requests: Requests, crew: Crew, window: int, on_error: OnError
    ) -> None:
        self.number = number
        self._crew, self._on_error = crew, on_error
        self._room = asyncio.Semaphore(window)
        self._ready: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._outstanding = 0
        self._exhausted = False
        self._error: BaseException | None = None
        self._source = _lazily(requests)
        self._pulling = asyncio.create_task(self._pull())
        self._pulling.add_done_callback(self._pulled)
        self._halting: asyncio.Task[None] | None = None
        self._closing = asyncio.Lock()  # the consumer's end and the pool's may come at once

    async def next(self) -> Outcome | None:
        """The next outcome in the order they finish; None after the last."""
        outcome = await self._ready.get()
        if outcome is not None:
            self._room.release()
        elif self._error is not None:
            raise self._error
        return outcome

    def hand(self, handed: Handed) -> None:
        """Take what became of one of its tickets."""
        self._outstanding -= 1
        end = handed.end
        if isinstance(end, BaseException):
            self.fail(end)
        elif end is not None:
            self._ready.put_nowait(end)
            if isinstance(end, Failure) and not end.expected and self._on_error == "stop":
                self.fail(JobFailed(f"a call failed ({end.kind}: {end.message}); on_error=stop."))
        self._end_if_over()

    def fail(self, error: BaseException) -> None:
        """End with `error` once what is on the wire is handed over."""
        if self._error is None:
            self._error = error
            self._pulling.cancel()
            self._halting = asyncio.create_task(self._crew.halt(self.number))

    def break_off(self, error: BaseException) -> None:
        """End with `error` now: nobody is left who could hand anything over."""
        self._error = self._error or error
        self._pulling.cancel()
        self._ready.put_nowait(None)

    async def close(self) -> None:
        """Cancel what is in flight and wait until it is gone."""
        async with self._closing:
            self._error = self._error or RuntimeError(
                "the pool was closed while outcomes were awaited"
            )
            self._pulling.cancel()
            ending = filter(None, [self._pulling, self._halting])
            await asyncio.gather(*ending, return_exceptions=True)
            if self._outstanding:
                await self._crew.drop(self.number)
                self._outstanding = 0
            await self._source.aclose()
            self._ready.put_nowait(None)

    async def _pull(self) -> None:
        number = 0
        while True:
            await self._room.acquire()
            request = await anext(self._source, None)
            if request is None:
                return
            self._outstanding += 1
            self._crew.send(Ticket(self.number, number, request))
            number += 1

    def _pulled(self, pulling: asyncio.Task[None]) -> None:
        self._exhausted = True
        error = None if pulling.cancelled() else pulling.exception()
        if error is not None:
            self.fail(error)
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._exhausted and not self._outstanding:
            self._ready.put_nowait(None)


async def _lazily(requests: Requests) -> AsyncGenerator[ChatRequest, None]:
    if isinstance(requests, Iterable):
        for request in requests:
            yield request
        return
    try:
        async for request in requests:
            yield request
    finally:
        if isinstance(requests, AsyncGenerator):
            await requests.aclose()  # a producer's own clean-up is not left to the collector
