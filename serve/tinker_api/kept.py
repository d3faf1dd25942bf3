"""What is known of a training run, and of a checkpoint beside its adapter."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MOST_TTL_S = 10 * 366 * 24 * 3600  # of a checkpoint: ten years, as in the SDK


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Run:
    """What a training client was made with."""

    id: str
    base_model: str
    rank: int
    seed: int
    train_mlp: bool
    train_attn: bool
    created: str  # ISO 8601, as all times here
    user_metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What is known of a checkpoint beside its adapter."""

    base_model: str
    rank: int
    train_mlp: bool
    train_attn: bool
    created: str
    expires: str | None = None
    user_metadata: dict[str, str] | None = None
    size_bytes: int = field(default=0, compare=False)
