"""The four verbs and the limits of an engine, and what goes in and out of them.

Requests carry the adapter's name; replies carry its digest. `base` is the adapter with nothing
in it. A name that is not loaded raises UnknownAdapter: nothing falls through to base.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.adapter import Adapter

BASE = "base"


class UnknownAdapter(Exception):
    """No adapter of that name is loaded; `known` lists those that are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f'Unknown adapter "{name}". Loaded: {", ".join(known)}.')
        self.name, self.known = name, list(known)

    def __reduce__(self) -> tuple[type["UnknownAdapter"], tuple[str, list[str]]]:
        return type(self), (self.name, self.known)


class RefusedAdapter(Exception):
    """An adapter that this engine cannot serve: another base, unknown modules, broken tensors."""


class BrokenAdapter(Exception):
    """An adapter whose forward pass gives numbers that are not finite; others are unaffected."""


class BadRequest(ValueError):
    """A request that cannot be answered as it is asked; the message names the limit it breaks.

    `field` is "prompt", another field of a request, or None where no single one is at fault.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to sample.

    temperature 0 is greedy. A seed makes the row reproducible whatever its neighbours are.
    Stop strings end the text before their first occurrence.
    """

    adapter: str
    prompt_ids: Sequence[int]
    max_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled completion of T tokens.

    The log-probabilities are the model's own: at temperature 1, before top_p.
    """

    token_ids: list[int]  # [T], the end-of-turn token included when it was sampled
    logprobs: list[float]  # [T]
    text: str
    finish_reason: Literal["stop", "length"]
    adapter_digest: str


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Continuations of one context to score under one adapter."""

    adapter: str
    context_ids: Sequence[int]
    continuations: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Score:
    """Summed log-probability of each continuation, in the order they came."""

    loglikelihoods: list[float]
    adapter_digest: str


@dataclass(frozen=True)
class Limits:
    """What a base model can take and where its turns end."""

    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    context_tokens: int
    vocabulary: int


class Engine(Protocol):
    """What the adapter server runs on."""

    @property
    def limits(self) -> Limits:
        """What requests must keep to, and the tokenizer that they are made with."""
        ...

    async def load(self, name: str, adapter: Adapter) -> str:
        """Make `name` answerable and return its digest; RefusedAdapter when it cannot be."""

    async def unload(self, name: str) -> None:
        """Drop `name`; UnknownAdapter when it is not there."""

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """One sample per request, in the order they came."""

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """One score per request, in the order they came."""

    def adapters(self) -> dict[str, str]:
        """Name -> digest of everything that can answer now, base included."""
