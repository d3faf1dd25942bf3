"""What travels between the app, the client and a replica."""

import hashlib
from dataclasses import dataclass, field

from actors.lm.engine import Sample
from actors.lm.messages import Message


@dataclass(frozen=True)
class Call:
    """A prompt and how to complete it n times.

    The prompt is a conversation, a text, or token ids. Without max_tokens a completion may use
    what the prompt leaves of the model's context.
    """

    model: str
    prompt: list[Message] | str | list[int]
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    token_texts: bool = False


@dataclass(frozen=True)
class Completion:
    """A sample, and the text of each of its tokens when the call asked for them."""

    sample: Sample
    token_texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """Completions of one call by the adapter that `model` names in full."""

    model: str
    fingerprint: str
    prompt_tokens: int
    completions: list[Completion]


@dataclass(frozen=True)
class Description:
    """What a replica can answer, or what kept it from starting."""

    problem: str | None
    base_name: str
    base_names: list[str]  # all that mean the base, beside "base"
    adapters: dict[str, str] = field(default_factory=dict)  # name -> digest, base included


@dataclass(frozen=True)
class Refusal:
    """An error that the caller can cause; it travels as a value, so that it keeps its type."""

    error: Exception


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
