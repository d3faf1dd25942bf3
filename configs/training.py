"""What every job that trains an adapter may be told: base, LoRA, optimiser, processes."""

from abc import abstractmethod
from typing import Any, Literal

from pydantic import field_validator

from configs.base import RunConfig, execution_option, option
from configs.sections import LoraConfig


class TrainingConfig(RunConfig):
    """A LoRA on a base, an optimiser, and the processes that train it."""

    preset: str | None = execution_option(None, "name of a file of the job in configs/presets")
    base_model: str = option("tiny", '"tiny", a hub id or a directory')
    learning_rate: float = option(2e-4, "peak of the schedule", gt=0)
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm; 0 is off", ge=0)
    weight_decay: float = option(0.0, "of AdamW", ge=0)
    seed: int = option(0, "of the data's order, the adapter's start and dropout", ge=0)
    dtype: Literal["float32", "bfloat16"] = option(
        "float32", "type of the base's weights; the adapter is float32"
    )
    quantization: Literal["none", "nf4"] = option("none", "of the base's weights; nf4 needs CUDA")
    lora: LoraConfig = option(LoraConfig(), "the adapter")
    save_every: int = option(0, "steps between checkpoints; 0 keeps the ends of epochs only", ge=0)
    keep_last: int = execution_option(0, "newest checkpoints that stay; 0: all", ge=0)
    backend: Literal["ray", "tinker"] = option("ray", "this cluster, or the Tinker service")
    num_workers: int | tuple[int, int] = execution_option(
        1, "training processes; [least, most] follows what the cluster has"
    )
    sharding: Literal["replicated", "fsdp"] = execution_option(
        "replicated", "whether every worker holds the whole base (fsdp: a part of it)"
    )
    gradient_checkpointing: bool = execution_option(
        False, "compute activations twice instead of keeping them"
    )
    micro_batch_tokens: int | None = execution_option(
        None, "tokens in one forward pass (default: 1024 on a CPU, 8192 on a GPU)", ge=1
    )
    max_failures: int = execution_option(3, "failed workers that a run survives", ge=0)
    hang_timeout_s: float = execution_option(
        600.0, "seconds without progress until a worker counts as failed", gt=0
    )
    resume: bool = execution_option(True, "continue a run that was begun; false refuses it")
    report_to: list[Literal["wandb", "tensorboard"]] = execution_option(
        [], "where metrics go besides metrics.jsonl"
    )

    @field_validator("num_workers", mode="before")
    @classmethod
    def _workers(cls, value: Any) -> Any:
        bounds = value if isinstance(value, list | tuple) else [value, value]
        counted = len(bounds) == 2 and all(isinstance(n, int) and n >= 1 for n in bounds)
        if not counted or bounds[0] > bounds[1]:
            raise ValueError("must be a number from 1, or [least, most]")
        return value

    @property
    def worker_range(self) -> tuple[int, int]:
        """The fewest and the most training processes."""
        workers = self.num_workers
        return (workers, workers) if isinstance(workers, int) else workers

    @property
    @abstractmethod
    def max_row_tokens(self) -> int:
        """Tokens of the longest row that is trained on."""
