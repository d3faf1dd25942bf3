"""Where a worker answers one request: look it up, pay for it, send it when limits allow, enter it.

Before a call the books say whether its answer is stored, is being asked for elsewhere, or can be
paid for; before every attempt the limiter's gate gives a permit; both learn how it ended.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.pool.books.at import BooksAt
from actors.pool.books.charges import Tariff
from actors.pool.books.client import Books, Broke, Failed, NotRecorded, Stored
from actors.pool.books.key import call_key
from actors.pool.books.prices import Prices
from actors.pool.calls.body import request_body
from actors.pool.calls.call import Caller
from actors.pool.calls.retry import RetryPolicy
from actors.pool.calls.stored import failure_from_bytes, failure_to_bytes, from_bytes, to_bytes
from actors.pool.calls.structured import InvalidAnswer
from actors.pool.calls.transport import Transport
from actors.pool.counts import Counts
from actors.pool.errors import not_recorded
from actors.pool.limiter.gate import Gate, Limits
from actors.pool.limiter.name import limiter_name
from actors.pool.line import GatedLine, Halt
from actors.pool.meters import call_ended
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome
from configs.errors import BudgetReached
from configs.sections import PoolConfig

_BYTES_PER_TOKEN = 4  # of English; the tokens-per-minute bucket settles the difference afterwards
_ANSWER_TOKENS = 256  # where the request sets no bound


@dataclass(frozen=True)
class Setup:
    """What every worker of a pool is given."""

    provider: Provider
    config: PoolConfig
    books: BooksAt
    prices: Mapping[str, Prices]
    policy: RetryPolicy


class Desk:
    """Answers requests over one transport; made inside the event loop that it works in.

    `answered`: something answered at the URL before, to another worker.
    """

    def __init__(self, setup: Setup, name: str, answered: bool = False) -> None:
        config = setup.config
        self._setup, self._name = setup, name
        self._caller = Caller(setup.provider, config.max_attempts, setup.policy, reached=answered)
        self._transport = Transport(setup.provider, config.max_concurrency, config.timeout_s)
        self._books = Books(setup.books, name, setup.provider)
        self._gates: dict[str, Gate] = {}
        self.on_wire: set[asyncio.Task[Any] | None] = set()

    @property
    def counts(self) -> Counts:
        """What was done so far."""
        self._caller.counts.in_flight = len(self.on_wire)
        return self._caller.counts

    async def flush(self) -> None:
        """See in the books what calls that ended have cost."""
        await self._books.flush()

    async def close(self) -> None:
        """Give permits back, write the books, close connections."""
        for gate in self._gates.values():
            await gate.close()
        await self._books.aclose()
        await self._transport.close()

    async def answer(self, request: ChatRequest, halt: Halt) -> Outcome:
        """The outcome of `request`, of a stream that `halt` may end meanwhile.

        Raises:
            UserError: no request can work before the user mends something.
            BudgetReached: what it may cost is not left.
        """
        provider, counts = self._setup.provider, self._caller.counts
        body = request_body(request, provider)
        model = body["model"]
        key = call_key(provider.name, body, request.sample)
        tariff = Tariff(provider, self._setup.prices.get(model), self._setup.books.has_budget)
        bound = tariff.first_bound_usd(request, body)
        if (recalled := await self._recall(request, model, key, bound)) is not None:
            return recalled
        line = GatedLine(
            self._transport,
            self._books,
            self._gate(model),
            tariff,
            key,
            bound,
            self._tokens(body),
            halt,
            self.on_wire,
        )
        answer = failure = asked = None
        try:
            outcome = await self._caller.call(request, body, line, line.bill)
            if isinstance(outcome, Completion):
                answer = to_bytes(outcome)
            else:
                failure = failure_to_bytes(outcome)
        finally:
            line.leave()
            if answer is not None or failure is not None:
                asked = json.dumps(body).encode()
            costs = line.bill.cost_usd, line.bill.presumed_usd
            self._books.close(key, answer, *costs, asked, failure)
        counts.failed += isinstance(outcome, Failure)
        counts.done += isinstance(outcome, Completion)
        call_ended(model, outcome)
        return outcome

    async def _recall(
        self, request: ChatRequest, model: str, key: str, bound_usd: float
    ) -> Outcome | None:
        """The outcome that is stored; None: this desk makes the call."""
        counts, misfit = self._caller.counts, None
        while True:
            opened = await self._books.open(key, bound_usd, misfit)
            if isinstance(opened, Failed):
                counts.failed += 1
                return failure_from_bytes(opened.failure, request)
            if isinstance(opened, Broke):
                raise BudgetReached(opened.message)
            if isinstance(opened, NotRecorded):
                if request.may_refuse is not None:
                    message = f"{request.may_refuse}: not recorded"
                    return Failure(request.key, "rejected", message, 0, 0.0, True, cached=True)
                raise not_recorded(self._setup.provider, model)
            if not isinstance(opened, Stored):
                return None
            try:
                completion = from_bytes(opened.answer, request)
            except InvalidAnswer as error:
                misfit = opened.answer
                if self._setup.books.replay_only:
                    counts.failed += 1
                    message = f"recorded, but it does not fit: {error}"
                    return Failure(request.key, "invalid", message, 0, 0.0, cached=True)
                continue
            counts.done += 1
            counts.cached += 1
            return completion

    def _gate(self, model: str) -> Gate:
        gate = self._gates.get(model)
        if gate is None:
            provider, config = self._setup.provider, self._setup.config
            gate = self._gates[model] = Gate(
                limiter_name(provider.base_url, provider.account, model),
                self._setup.books.session,
                self._name,
                Limits(
                    config.max_concurrency, config.requests_per_minute, config.tokens_per_minute
                ),
            )
        return gate

    def _tokens(self, body: dict[str, Any]) -> int:
        """About how many tokens a call will use."""
        if self._setup.config.tokens_per_minute is None:
            return 0
        said = sum(len(message["content"]) for message in body["messages"])
        return said // _BYTES_PER_TOKEN + body.get("max_tokens", _ANSWER_TOKENS)
