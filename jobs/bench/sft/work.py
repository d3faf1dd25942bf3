"""What a side of the bench is asked to train, and what it measures: JSON between processes."""

from typing import Literal

from configs.base import Config
from configs.sft import SftConfig

Arrangement = Literal["padded", "padding_free", "packed"]


class Start(Config):
    """What a side loads before it is given work."""

    base: str
    device: str
    folder: str  # for what its libraries insist on writing


class Row(Config):
    """A conversation as tokens."""

    token_ids: list[int]  # [T + 1]
    is_target: list[bool]  # [T + 1], true on what the assistant says


class Work(Config):
    """Rows to train on once. Every side makes the same batches of them, in the same order."""

    rows: list[Row]
    batch_size: int
    gradient_checkpointing: bool = False
    arrangement: Arrangement = "padded"  # TRL's; ours has only one
    micro_batch_tokens: int | None = None  # ours; its default
    on_ray: bool = False  # a whole run: in a worker of Ray Train
    url: str | None = None  # single steps: through the front of the server there

    @property
    def lengths(self) -> list[int]:
        """Positions of every row: all its tokens but the last one, which predicts nothing."""
        return [len(row.token_ids) - 1 for row in self.rows]

    @property
    def tokens(self) -> int:
        """Positions that are trained on; padding is none."""
        return sum(self.lengths)

    @property
    def targets(self) -> int:
        """Positions that teach something."""
        return sum(sum(row.is_target[1:]) for row in self.rows)

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return -(-len(self.rows) // self.batch_size)


class Measured(Config):
    """What some work took from the first step to the end of the last one."""

    cpu_s: float
    wall_s: float
    losses: list[float]  # per target token, of every step
    peak_mb: float  # the most memory beyond the loaded model; only in a process that trains first


class Took(Config):
    """What an epoch or a step took."""

    wall_s: float


def settings(start: Start, work: Work) -> SftConfig:
    """How all sides train: our defaults, one pass, no warm-up."""
    config = SftConfig(
        base_model=start.base,
        data_file="train.jsonl",
        epochs=1,
        warmup_steps=0,
        batch_size=work.batch_size,
        gradient_checkpointing=work.gradient_checkpointing,
        dtype="float32" if start.device == "cpu" else "bfloat16",
    )
    if work.micro_batch_tokens is None:
        return config
    return config.model_copy(update={"micro_batch_tokens": work.micro_batch_tokens})
