"""What goes into an engine and what comes out of it.

Requests carry the adapter's name, replies its digest. `base` is the adapter with nothing in it.
All log-probabilities are the model's own: before logit bias, grammar and any truncation of the
distribution, and at temperature 1 unless a request wants those of its own temperature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

BASE = "base"


class Likely(NamedTuple):
    """A token that could have stood at some place, and its log-probability."""

    token_id: int
    logprob: float


class TokenLogprob(NamedTuple):
    """The log-probability of the token that stands at a place, and the likeliest ones there."""

    logprob: float
    likeliest: tuple[Likely, ...]  # as many as were asked for, best first


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to sample.

    temperature 0 is greedy. A seed makes the row reproducible whatever its neighbours are. Stop
    strings end the text before their first occurrence. max_tokens 0 samples nothing: it is for
    requests that ask for the prompt's log-probabilities.
    """

    adapter: str
    prompt_ids: Sequence[int]
    max_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # token id -> added to its logit
    top_logprobs: int = 0  # likeliest tokens told at each sampled place
    prompt_logprobs: int | None = None  # the same at each place of the prompt; None: not asked
    json_schema: str | None = None  # the text is held to this JSON schema (JSON text)
    end_ids: frozenset[int] | None = None  # tokens that end the text; None: the model's own
    tempered: bool = False  # sampled tokens' log-probabilities are those at this temperature


@dataclass(frozen=True, slots=True)
class Piece:
    """What a row gained since its last piece. The texts of all pieces make up the sample's text.

    Text is held back while it may be the start of a stop string or half of a character, so a
    piece may hold tokens without text, and the last one text without tokens.
    """

    token_ids: list[int]
    logprobs: list[TokenLogprob]
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled completion of T tokens of a prompt of P tokens."""

    token_ids: list[int]  # [T], the end-of-turn token included when it was sampled
    logprobs: list[TokenLogprob]  # [T]
    text: str
    finish_reason: Literal["stop", "length"]
    adapter_digest: str
    prompt_logprobs: list[TokenLogprob | None] | None = None  # [P], the first is None


@dataclass(frozen=True, slots=True)
class Question:
    """Continuations of one context whose log-likelihoods are compared."""

    context_ids: Sequence[int]
    continuations: Sequence[Sequence[int]]


class Likelihood(NamedTuple):
    """A continuation's summed log-probability, and whether greedy sampling would have given it."""

    logprob: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """What one adapter says to Q questions.

    `problem` says why it has no scores: its numbers are not finite. The others are unaffected.
    """

    adapter_digest: str
    questions: list[list[Likelihood]]  # [Q][continuations], empty where there is a problem
    problem: str | None = None
