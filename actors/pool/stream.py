"""Many calls at once: workers that pull a request, make the call and hand the outcome over.

Nothing is pulled before there is room for its outcome, so a producer of a million requests is
never more than the workers and a few finished outcomes ahead of the consumer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Any

from actors.pool.calls.answers import Answer
from actors.pool.calls.call import Ask, Caller
from actors.pool.calls.retry import Trouble
from actors.pool.requests import ChatRequest, Failure, Outcome

_FINISHED_AHEAD = 8

Requests = Iterable[ChatRequest] | AsyncIterable[ChatRequest]


class Stream:
    """The calls of one `complete`, on a transport (`ask`) and slots that it shares with others.

    When something is raised (a fault that no retry mends, or the producer's own error), nothing
    new is sent, but answers on the wire are still handed over: they are paid for. Then it is raised
    to the consumer.
    """

    def __init__(
        self,
        requests: Requests,
        caller: Caller,
        ask: Ask,
        slots: asyncio.Semaphore,
        num_workers: int,
    ) -> None:
        self._caller, self._send, self._slots = caller, ask, slots
        self._source = _lazily(requests)
        self._closing = asyncio.Lock()
        self._pulling = asyncio.Lock()  # an async generator takes one caller at a time
        self._exhausted = False
        self._room = asyncio.Semaphore(num_workers + _FINISHED_AHEAD)
        self._ready: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._asking: set[asyncio.Task[Any] | None] = set()
        self._error: BaseException | None = None
        self._workers = {asyncio.create_task(self._work()) for _ in range(num_workers)}
        for worker in self._workers:
            worker.add_done_callback(self._ended)

    async def next(self) -> Outcome | None:
        """The next outcome in the order they finish; None after the last."""
        outcome = await self._ready.get()
        if outcome is not None:
            self._room.release()
        elif self._error is not None:
            raise self._error
        return outcome

    async def close(self) -> None:
        """Cancel what is in flight and wait until it is gone."""
        async with self._closing:
            workers = list(self._workers)
            if workers and self._error is None:
                self._error = RuntimeError("the pool was closed while outcomes were awaited")
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._source.aclose()

    async def _work(self) -> None:
        while self._error is None:
            await self._room.acquire()
            request = await self._pull()
            if request is None:
                self._room.release()  # the other workers have to see the end too
                return
            self._ready.put_nowait(await self._call(request))

    async def _pull(self) -> ChatRequest | None:
        async with self._pulling:
            request = None if self._exhausted else await anext(self._source, None)
            self._exhausted = request is None
            return request

    async def _call(self, request: ChatRequest) -> Outcome:
        counts = self._caller.counts
        async with self._slots:
            counts.in_flight += 1
            try:
                outcome = await self._caller.call(request, self._ask, self._pause)
            finally:
                counts.in_flight -= 1
        if isinstance(outcome, Failure):
            counts.failed += 1
        else:
            counts.done += 1
        return outcome

    async def _ask(self, payload: dict[str, Any]) -> Answer | Trouble:
        task = asyncio.current_task()
        self._asking.add(task)
        try:
            return await self._send(payload)
        finally:
            self._asking.discard(task)

    async def _pause(self, wait_s: float) -> None:
        if self._error is not None:
            raise asyncio.CancelledError  # the stream is ending: no further attempts
        await asyncio.sleep(wait_s)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        error = None if worker.cancelled() else worker.exception()
        if error is not None and self._error is None:
            self._error = error
            for other in self._workers - self._asking:
                other.cancel()
        if not self._workers:
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
