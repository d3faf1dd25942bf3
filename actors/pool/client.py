"""The pool's one verb: chat requests in, outcomes out in the order they finish."""

import asyncio
import random
from collections.abc import AsyncIterator
from types import TracebackType

from actors.pool.calls.call import Caller
from actors.pool.calls.retry import RetryPolicy
from actors.pool.calls.transport import Transport
from actors.pool.counts import Counts
from actors.pool.provider import Provider
from actors.pool.requests import Outcome
from actors.pool.stream import Requests, Stream
from configs.sections import PoolConfig


class ChatPool:
    """Chat-completion calls to one provider, at most `max_concurrency` of them at a time.

    `async with ChatPool(provider) as pool: async for outcome in pool.complete(requests): ...`
    Leaving either block early cancels what is in flight.
    """

    def __init__(
        self,
        provider: Provider,
        config: PoolConfig | None = None,
        *,
        policy: RetryPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config or PoolConfig()
        self._caller = Caller(
            provider,
            self._config.max_attempts,
            policy or RetryPolicy(),
            rng or random.Random(),
        )
        self._streams: set[Stream] = set()

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        return self._caller.counts

    async def __aenter__(self) -> "ChatPool":
        limit = self._config.max_concurrency
        self._slots = asyncio.Semaphore(limit)
        self._transport = Transport(self._caller.provider, limit, self._config.timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in list(self._streams):
            await stream.close()
        await self._transport.close()

    async def complete(self, requests: Requests) -> AsyncIterator[Outcome]:
        """Outcomes of `requests`, which are pulled as there is room for them.

        Several streams may run at once; they share the pool's concurrency.
        """
        stream = Stream(
            requests, self._caller, self._transport.ask, self._slots, self._config.max_concurrency
        )
        self._streams.add(stream)
        try:
            while (outcome := await stream.next()) is not None:
                yield outcome
        finally:
            await stream.close()
            self._streams.discard(stream)
