"""The verbs of an engine, and the limits of its model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.adapter import Adapter
from actors.lm.requests import Piece, Question, Sample, SampleRequest, Scores

# Told of every piece: the position of its request among those of the call, and the piece.
OnPiece = Callable[[int, Piece], None]


@dataclass(frozen=True)
class Limits:
    """What a base model can take and where its turns end."""

    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    context_tokens: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class EngineStats:
    """How busy an engine is at the moment."""

    running: int  # rows in the batch
    waiting: int  # rows that have no place in it yet
    cache_tokens_used: int
    cache_tokens: int
    prompt_tokens: int  # since the start, computed; those found in the cache are not counted
    cached_prompt_tokens: int  # since the start, found in the cache
    generated_tokens: int  # since the start


class Engine(Protocol):
    """What the adapter server runs on. Its methods belong to one event loop."""

    @property
    def limits(self) -> Limits:
        """What requests must keep to, and the tokenizer that they are made with."""
        ...

    @property
    def max_adapters(self) -> int:
        """How many adapters can be loaded at once, the base not counted."""
        ...

    async def load(self, name: str, adapter: Adapter) -> str:
        """Make `name` answerable and return its digest; RefusedAdapter when it cannot be.

        A name keeps its content until it is unloaded.
        """

    async def unload(self, name: str) -> None:
        """Drop `name` once its last answer is given; UnknownAdapter when it is not there."""

    async def sample(
        self, requests: Sequence[SampleRequest], on_piece: OnPiece | None = None
    ) -> list[Sample]:
        """One sample per request, in the order they came; all are checked before the first runs.

        UnknownAdapter, BadRequest, BrokenAdapter. A call that is cancelled frees its rows.
        """

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        """What each adapter says to all the questions, in the order of the adapters."""

    async def sleep(self) -> None:
        """Leave the device to somebody else: weights go to the host, the cache is dropped.

        What runs is finished first. What is asked from then on waits for `wake`.
        """

    async def wake(self) -> None:
        """Take the device back, after `sleep`."""

    def adapters(self) -> dict[str, str]:
        """Name -> digest of everything that can answer now, base included."""

    def stats(self) -> EngineStats:
        """How busy it is."""

    def check_alive(self) -> None:
        """RuntimeError when it can answer nothing any more and must be replaced."""

    async def close(self) -> None:
        """Give back what it holds; nothing can be asked afterwards."""
