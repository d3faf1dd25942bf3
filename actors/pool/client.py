"""The pool's one verb: chat requests in, outcomes out in the order they finish."""

import itertools
from collections.abc import AsyncIterator, Mapping
from types import TracebackType

from actors.pool.books.at import BooksAt
from actors.pool.books.client import Books, Spent
from actors.pool.books.prices import Prices, fetch_prices
from actors.pool.calls.retry import RetryPolicy
from actors.pool.counts import Counts
from actors.pool.crew import Crew
from actors.pool.desk import Setup
from actors.pool.provider import Provider
from actors.pool.requests import Outcome
from actors.pool.stream import OnError, Requests, Stream
from actors.pool.worker import Handed
from configs.sections import PoolConfig

_AHEAD = 8  # requests that wait at the workers, beside those in flight, at least


class ChatPool:
    """Chat-completion calls to one provider, by workers on the Ray that this process is part of.

    `async with ChatPool(provider, config, books) as pool:` and in it
    `async for outcome in pool.complete(requests): ...`
    Leaving either block early cancels what is in flight.
    """

    def __init__(
        self,
        provider: Provider,
        config: PoolConfig,
        books: BooksAt,
        *,
        on_error: OnError = "continue",
        policy: RetryPolicy | None = None,
    ) -> None:
        self._provider, self._config, self._books_at = provider, config, books
        self.on_error: OnError = on_error
        self._policy = policy or RetryPolicy()
        self._streams: dict[int, Stream] = {}
        self._numbers = itertools.count()
        self._error: BaseException | None = None  # that ended all workers

    @property
    def counts(self) -> Counts:
        """What was done so far; the workers report at least once a second."""
        return self._crew.counts

    @property
    def num_workers(self) -> int:
        """Workers at work."""
        return self._crew.size

    @property
    def prices(self) -> Mapping[str, Prices]:
        """What models cost, as far as it is known."""
        return self._prices

    async def spent(self) -> Spent:
        """What this run and the study have cost, those that went before among them."""
        await self._crew.flush()
        return await self._books.spent()

    async def __aenter__(self) -> "ChatPool":
        self._books = Books(self._books_at, self._books_at.session)
        await self._books.spent()  # books that cannot be used are told of before anything starts
        self._prices: Mapping[str, Prices] = await fetch_prices(self._provider, self._config)
        setup = Setup(self._provider, self._config, self._books_at, self._prices, self._policy)
        self._crew = Crew(setup, self._books, self._hand, self._fail)
        self._crew.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in list(self._streams.values()):
            await stream.close()
        await self._crew.close()
        await self._books.aclose()

    async def complete(self, requests: Requests) -> AsyncIterator[Outcome]:
        """Outcomes of `requests`, which are pulled as there is room for them.

        Several streams may run at once; they share the pool's concurrency.
        """
        if self._error is not None:
            raise self._error
        number = next(self._numbers)
        limit = self._config.max_concurrency
        window = limit + max(limit, _AHEAD)
        stream = Stream(number, requests, self._crew, window, self.on_error)
        self._streams[number] = stream
        try:
            while (outcome := await stream.next()) is not None:
                yield outcome
        finally:
            await stream.close()
            del self._streams[number]

    def _hand(self, handed: Handed) -> None:
        stream = self._streams.get(handed.stream)
        if stream is not None:
            stream.hand(handed)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        for stream in self._streams.values():
            stream.break_off(error)
