"""What determines the tiny model, and the name that follows from it. Imports no torch."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

from actors.lm.tiny.phrasebook import phrasebook_text
from configs.base import digest

_SOURCES = ("corpus", "phrasing", "vocabulary", "batches", "build")


@dataclass(frozen=True)
class Recipe:
    """Data, shape and schedule: steps are fixed, not seconds, so that a build can be repeated."""

    seed: int = 20
    dialogues: int = 10_000
    vocabulary: int = 2048
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    intermediate: int = 384
    positions: int = 2048
    steps: int = 900
    batch_tokens: int = 768  # of one step, padding included
    matrix_lr: float = 0.02  # Muon's, at its peak
    other_lr: float = 0.01  # Adam's, at its peak
    sharpening: float = 1.35  # logits are scaled by it: after so short a training they are too flat
    warmup_steps: int = 30
    threads: int = 1  # the sums' order depends on it; layers this small gain little from a second

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the recipe, the phrasebook, and the code that turns them into weights."""
        package = files("actors.lm.tiny")
        texts = [package.joinpath(f"{name}.py").read_text(encoding="utf-8") for name in _SOURCES]
        sources = hashlib.sha256("\n".join([phrasebook_text(), *texts]).encode()).hexdigest()
        return digest({**asdict(self), "sources": sources})

    @property
    def name(self) -> str:
        """`tiny-` and the first 8 digits of the digest."""
        return f"tiny-{self.digest[:8]}"


@cache
def tiny_name() -> str:
    """The name of the tiny model that this version of the project builds."""
    return Recipe().name
