"""One call's life: ask, judge what came, wait, ask again, until there is an outcome.

It knows one request and nothing of the stream around it; how to ask, to wait and to pay are given.
"""

import random
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from actors.pool.calls.answers import Answer
from actors.pool.calls.body import request_body
from actors.pool.calls.retry import RetryPolicy, Trouble
from actors.pool.calls.structured import InvalidAnswer, asked_again, parse_answer
from actors.pool.counts import Counts
from actors.pool.errors import provider_refused, provider_unreachable
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome, SchemaMode

_NEXT_MODE: dict[SchemaMode, SchemaMode] = {"strict": "json", "json": "prompt"}


class Line(Protocol):
    """What one call needs of the world."""

    async def turn(self) -> None:
        """Wait until limits allow an attempt; `ask` follows at once."""
        ...

    async def ask(self, payload: dict[str, Any], attempt: int) -> Answer | Trouble:
        """Attempt number `attempt` (from 1) over the wire."""
        ...

    async def pause(self, wait_s: float) -> None:
        """Wait before another attempt."""
        ...

    async def pay_again(self, payload: dict[str, Any]) -> None:
        """See that an attempt with `payload`, or a first one, can be paid for; BudgetReached."""
        ...


@dataclass(slots=True)
class Bill:
    """What a call has cost so far; right also when it ends with an exception."""

    cost_usd: float = 0.0
    presumed_usd: float = 0.0  # may have been billed, but nobody said so: a time-out, a lost line


@dataclass
class Caller:
    """What the calls of a worker share."""

    provider: Provider
    max_attempts: int
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    rng: random.Random = field(default_factory=random.Random)
    counts: Counts = field(default_factory=Counts)
    # How a schema has to be asked for, where that is not by response_format. Kept schema by
    # schema: a provider that knows response_format may still refuse a single one.
    modes: dict[type[BaseModel] | None, SchemaMode] = field(default_factory=dict)
    reached: bool = False  # something answered at the URL once, be it with an error

    async def call(
        self, request: ChatRequest, body: dict[str, Any], line: Line, bill: Bill
    ) -> Outcome:
        """The outcome of `request`, whose strict body is `body`; UserError where none can work."""
        started_s = time.perf_counter()
        mode: SchemaMode = "strict"
        payload = question = body
        never_connected, attempt = True, 0
        while True:
            attempt += 1
            await line.turn()
            if self.modes.get(request.schema, "strict") != mode:  # learned while this one waited
                mode = self.modes[request.schema]
                payload = question = request_body(request, self.provider, mode)
            found = fit(await line.ask(payload, attempt), request.schema)
            self._count(found, bill)
            if not isinstance(found, Trouble):
                return _completion(request, question, found, bill, attempt, started_s, mode)
            if found.action == "fatal":
                raise provider_refused(self.provider, found.status, found.message)
            never_connected = never_connected and found.unreachable
            refused = found.refuses_schema and request.schema is not None
            next_mode = _NEXT_MODE.get(mode) if refused else None
            if next_mode is None and (found.action == "final" or attempt >= self.max_attempts):
                if never_connected and not self.reached:
                    raise provider_unreachable(self.provider, found.message)
                return _failure(request, found, bill, attempt)
            if next_mode is not None:
                if self.modes.get(request.schema, "strict") == mode:  # no other call knows better
                    self.modes[request.schema] = next_mode
            elif found.action == "ask_again":
                again = asked_again(question["messages"], found.text, found.message)
                payload = {**question, "messages": again}
            self.counts.retries += 1
            await line.pause(self.policy.wait_s(attempt, found, self.rng))
            await line.pay_again(payload)

    def _count(self, found: "Fitted | Trouble", bill: Bill) -> None:
        bill.cost_usd += found.cost_usd
        self.counts.cost_usd += found.cost_usd
        if not isinstance(found, Trouble):
            self.reached = True
            return
        self.reached = self.reached or found.kind not in ("connection", "timeout")
        self.counts.rate_limited += found.kind == "rate_limited"


@dataclass(frozen=True, slots=True)
class Fitted:
    """An answer that fits the request."""

    answer: Answer
    value: BaseModel | None

    @property
    def cost_usd(self) -> float:
        """Dollars of this attempt."""
        return self.answer.cost_usd


def fit(found: Answer | Trouble, schema: type[BaseModel] | None) -> Fitted | Trouble:
    """The answer with its instance of `schema`, or a complaint to ask again with."""
    if isinstance(found, Trouble):
        return found
    if schema is None or found.refusal:
        return Fitted(found, None)
    try:
        return Fitted(found, parse_answer(found.text, schema))
    except InvalidAnswer as error:
        cut = (
            "it was cut off at max_tokens, be shorter; " if found.finish_reason == "length" else ""
        )
        complaint = cut + str(error)
        return Trouble("ask_again", "invalid", complaint, cost_usd=found.cost_usd, text=found.text)


def _failure(request: ChatRequest, found: Trouble, bill: Bill, attempts: int) -> Failure:
    refusable = request.may_refuse
    expected = found.kind == "rejected" and refusable is not None and refusable in found.message
    return Failure(request.key, found.kind, found.message, attempts, bill.cost_usd, expected)


def _completion(
    request: ChatRequest,
    payload: dict[str, Any],
    found: Fitted,
    bill: Bill,
    attempts: int,
    started_s: float,
    schema_mode: SchemaMode,
) -> Completion:
    answer = found.answer
    return Completion(
        key=request.key,
        text=answer.text,
        value=found.value,
        refusal=answer.refusal,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        cost_usd=bill.cost_usd,
        attempts=attempts,
        latency_s=time.perf_counter() - started_s,
        model=answer.model or payload["model"],
        schema_mode=schema_mode,
        logprobs=answer.logprobs,
    )
