"""What travels between the app, the client and a replica."""

import hashlib
from dataclasses import dataclass, field

from actors.lm.messages import Message
from actors.lm.requests import Piece, Sample

Prompt = list[Message] | str | list[int]


@dataclass(frozen=True)
class Call:
    """Prompts and how to complete each of them n times.

    A prompt is a conversation, a text, or token ids. Without max_tokens a completion may use what
    its prompt leaves of the model's context.
    """

    model: str
    prompts: list[Prompt]
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    logit_bias: dict[int, float] = field(default_factory=dict)
    logprobs: int | None = None  # likeliest tokens at each place; None: no log-probabilities
    echo: bool = False  # the prompt is part of the answer, with its log-probabilities
    json_schema: str | None = None
    end_ids: frozenset[int] | None = None  # tokens that end a completion; None: the model's own
    tempered: bool = False  # log-probabilities at the call's temperature, not at 1


@dataclass(frozen=True)
class TokenText:
    """How a token reads: its text, and its own bytes, which may be a part of a character."""

    text: str
    raw: bytes


@dataclass(frozen=True)
class Choice:
    """One completion of one of a call's prompts."""

    sample: Sample
    prompt_ids: list[int]
    prompt_text: str | None = None  # with `echo`


@dataclass(frozen=True)
class Answer:
    """Completions by the adapter that `model` names in full: prompt by prompt, n of each.

    `texts` has every token that a log-probability is told of, when the call asked for them.
    """

    model: str
    fingerprint: str
    choices: list[Choice]
    texts: dict[int, TokenText] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """The first thing that a stream says."""

    model: str
    fingerprint: str
    adapter_digest: str


@dataclass(frozen=True)
class Delta:
    """What choices of a streamed call gained, and how the tokens in it read."""

    pieces: list[tuple[int, Piece]]  # (index of the choice, piece)
    texts: dict[int, TokenText] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What a replica can answer, or what kept it from starting."""

    problem: str | None
    base_name: str
    base_names: list[str]  # all that mean the base, beside "base"
    adapters: dict[str, str] = field(default_factory=dict)  # name -> digest, base included


@dataclass(frozen=True)
class Loaded:
    """An adapter that can be asked for: its `name@version`, its content, and what it answers.

    `probe` are its log-likelihoods of the question of `serve.probe`.
    """

    model: str
    digest: str
    probe: list[float]


@dataclass(frozen=True)
class Refusal:
    """An error that the caller can cause; it travels as a value, so that it keeps its type."""

    error: Exception


class Overloaded(Exception):
    """More requests wait than may; asking again makes sense after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["Overloaded"], tuple[str, float]]:
        return type(self), (str(self), self.retry_after_s)


class Unavailable(Exception):
    """No replica is there to answer, or the one that answered is gone."""


def choice_seed(seed: int | None, choice: int) -> int | None:
    """Seed of the i-th of n choices. The first is the call's own, as with n=1.

    The others are hashed: seed + i would make neighbouring seeds share their choices.
    """
    if seed is None or choice == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{choice}".encode()).digest()[:8], "big")


def fingerprint(base_digest: str, adapter_digest: str) -> str:
    """Names base and adapter; the base alone is named twice."""
    return f"{base_digest[:16]}-{adapter_digest[:16]}"
