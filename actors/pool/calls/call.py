"""One call's life: ask, judge what came, wait, ask again, until there is an outcome.

It knows one request and nothing of the stream around it; how to ask and how to wait are given.
"""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from actors.pool.calls.answers import Answer
from actors.pool.calls.body import request_body
from actors.pool.calls.retry import RetryPolicy, Trouble
from actors.pool.calls.structured import InvalidAnswer, asked_again, parse_answer
from actors.pool.counts import Counts
from actors.pool.errors import ProviderRefused, ProviderUnreachable
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome, SchemaMode

Ask = Callable[[dict[str, Any]], Awaitable[Answer | Trouble]]
Pause = Callable[[float], Awaitable[None]]


@dataclass
class Caller:
    """What the calls of a pool share."""

    provider: Provider
    max_attempts: int
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    rng: random.Random = field(default_factory=random.Random)
    counts: Counts = field(default_factory=Counts)
    # Schemas that the provider takes only in the prompt. Kept one by one: a provider that knows
    # response_format may still refuse a single schema.
    prompted: set[type[BaseModel]] = field(default_factory=set)
    reached: bool = False  # something answered at the URL once, be it with an error

    async def call(self, request: ChatRequest, ask: Ask, pause: Pause) -> Outcome:
        """The outcome of `request`; a UserError where no request can work."""
        started_s = time.perf_counter()
        mode: SchemaMode = "prompt" if request.schema in self.prompted else "strict"
        payload = question = request_body(request, self.provider, mode)
        cost_usd, never_connected, attempt = 0.0, True, 0
        while True:
            attempt += 1
            found = fit(await ask(payload), request.schema)
            cost_usd += found.cost_usd
            self._count(found)
            if not isinstance(found, Trouble):
                return _completion(request, question, found, cost_usd, attempt, started_s, mode)
            if found.action == "fatal":
                raise ProviderRefused(self.provider, found.status, found.message)
            never_connected = never_connected and found.unreachable
            refused = request.schema if found.refuses_schema and mode == "strict" else None
            if refused is None and (found.action == "final" or attempt >= self.max_attempts):
                if never_connected and not self.reached:
                    raise ProviderUnreachable(self.provider, found.message)
                return Failure(request.key, found.kind, found.message, attempt, cost_usd)
            if refused is not None:
                self.prompted.add(refused)
                mode = "prompt"
                payload = question = request_body(request, self.provider, mode)
            elif found.action == "ask_again":
                again = asked_again(question["messages"], found.text, found.message)
                payload = {**question, "messages": again}
            self.counts.retries += 1
            await pause(self.policy.wait_s(attempt, found, self.rng))

    def _count(self, found: "Fitted | Trouble") -> None:
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


def _completion(
    request: ChatRequest,
    payload: dict[str, Any],
    found: Fitted,
    cost_usd: float,
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
        cost_usd=cost_usd,
        attempts=attempts,
        latency_s=time.perf_counter() - started_s,
        model=answer.model or payload["model"],
        schema_mode=schema_mode,
    )
