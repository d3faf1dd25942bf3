"""What `sft` may be told."""

from typing import Any, Literal

from pydantic import field_validator, model_validator

from configs.base import Config, RunConfig, execution_option, option
from configs.sections import LoraConfig

# Below this a LoRA hardly moves: it is a rate for full fine-tuning.
LOW_LEARNING_RATE = 1e-5


class DataSource(Config):
    """A file of rows, and its part in an epoch."""

    file: str = option(..., "*.examples.yaml, or JSONL with messages or prompt and completion")
    weight: float | None = option(
        None, "share of an epoch's rows, beside the other files' (default: all rows of all)", gt=0
    )


class SftConfig(RunConfig):
    """Fine-tune a LoRA adapter on conversations; every checkpoint is a PEFT directory."""

    preset: str | None = execution_option(None, "name of a file in configs/presets")
    base_model: str = option("tiny", '"tiny", a hub id or a directory')
    examples_file: str | None = execution_option(
        None, "datasets/*.examples.yaml, as generate writes it"
    )
    data_file: str | None = execution_option(
        None, "JSONL with messages rows, or prompt and completion"
    )
    data: list[DataSource] = execution_option([], "several files: [{file: PATH, weight: 1}]")
    train_on: Literal["assistant", "last_assistant", "all"] = option(
        "assistant", "whose tokens are learned: every answer, the last one, everything"
    )
    max_tokens: int = option(2048, "of one row", ge=2)
    too_long: Literal["error", "truncate", "drop"] = option(
        "error", "what happens to a row of more than max_tokens"
    )
    validation_file: str | None = execution_option(None, "rows that are measured, not learned")
    validation_share: float = option(0.0, "share of the rows held out for that", ge=0, lt=1)
    validate_every: int = option(0, "steps between validations; 0: at the ends of epochs", ge=0)
    patience: int = option(
        0, "validations without a better loss until training stops; 0 goes on", ge=0
    )
    eval_files: list[str] = execution_option(
        [], "evaluation prompts that the training data must not hold"
    )
    strict: bool = execution_option(False, "refuse training data that holds such a prompt")
    epochs: int = option(3, "passes over the data", ge=1)
    batch_size: int = option(8, "rows of one step, over all workers", ge=1)
    learning_rate: float = option(2e-4, "peak of the schedule", gt=0)
    schedule: Literal["linear", "cosine", "constant"] = option("linear", "after the warm-up")
    warmup_steps: int = option(5, "steps until the peak", ge=0)
    warmup_share: float | None = option(None, "the same as a share of all steps", ge=0, lt=1)
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

    @model_validator(mode="after")
    def _one_source(self) -> "SftConfig":
        if (self.examples_file is not None) + (self.data_file is not None) + bool(self.data) != 1:
            raise ValueError(
                "give exactly one of examples_file=PATH, data_file=PATH and data=[...]"
            )
        if len({source.weight is None for source in self.data}) > 1:
            raise ValueError("give a weight for every file of data=[...], or for none")
        return self

    @model_validator(mode="after")
    def _measured_on_something(self) -> "SftConfig":
        if self.validation_file is not None and self.validation_share:
            raise ValueError("give validation_file or validation_share, not both")
        held_out = self.validation_file is not None or self.validation_share > 0
        for name in ("validate_every", "patience"):
            if getattr(self, name) and not held_out:
                raise ValueError(f"{name} needs validation_file=PATH or validation_share=0.1")
        return self

    @property
    def sources(self) -> list[DataSource]:
        """The files that are trained on."""
        single = self.examples_file or self.data_file
        return self.data if single is None else [DataSource(file=single)]

    @property
    def worker_range(self) -> tuple[int, int]:
        """The fewest and the most training processes."""
        workers = self.num_workers
        return (workers, workers) if isinstance(workers, int) else workers
