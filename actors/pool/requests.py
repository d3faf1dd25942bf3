"""What goes into the pool and what comes out of it.

The error model: a call that did not work out is data in the stream, never an exception that ends
the others.

    Completion    an answer. A refusal or a content filter is one too (`refusal`): it was paid for,
                  and asking again would only bill it again.
    Failure       no answer after all attempts; `kind` says why:
                  rate_limited   429, also inside an HTTP 200
                  server         5xx, or an HTTP 200 that holds no answer
                  timeout        nothing came within `timeout_s`
                  connection     refused, reset, or cut in the middle of the body
                  invalid        the content never fitted the schema
                  rejected       the endpoint will not take this request (400, 404, other 4xx)
    UserError     raised, once, when no call can work until the user mends something: a key, the
                  credit, the URL (`actors.pool.errors`). What had finished was yielded before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import BaseModel

from actors.lm.messages import Message

FailureKind = Literal["rate_limited", "server", "timeout", "connection", "invalid", "rejected"]
SchemaMode = Literal["strict", "json", "prompt"]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion to ask for; what is None is left to the endpoint.

    `sample` numbers the draws of one request: each is sent with a seed of its own, derived from
    `seed` (draw 0 is sent with `seed` itself).
    """

    key: str
    messages: Sequence[Message]
    model: str | None = None  # None: the provider's default
    schema: type[BaseModel] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    sample: int = 0
    top_logprobs: int | None = None  # ask for the logprobs of so many alternatives a token
    # A parameter that the endpoint may refuse: a rejection that names it is no fault but tells
    # the asker to ask in another way, and so does a replay that does not hold the answer.
    may_refuse: str | None = None


class TokenLogprob(NamedTuple):
    """A token that was or could have been the next one."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. Tokens are the last attempt's, dollars those of all attempts."""

    key: str
    text: str
    value: BaseModel | None  # an instance of the request's schema; None without one, or if refused
    refusal: bool
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    attempts: int
    latency_s: float  # from the first attempt to the answer, waits included
    model: str  # as the endpoint names it
    # How a schema was asked for: by response_format, or where that is not taken as any JSON with
    # the schema in the prompt, or in the prompt alone.
    schema_mode: SchemaMode = "strict"
    # The alternatives at each token of the answer; None where none were asked for or given.
    logprobs: Sequence[Sequence[TokenLogprob]] | None = None
    cached: bool = False  # answered from what is stored: nothing was sent, nothing was paid


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that got no answer; its attempts may have cost something all the same."""

    key: str
    kind: FailureKind
    message: str
    attempts: int
    cost_usd: float
    expected: bool = False  # a refusal of what the request said may be refused
    cached: bool = False  # told by a replay: nothing was sent


Outcome = Completion | Failure
