"""What `sft` may be told."""

from typing import ClassVar, Literal

from pydantic import model_validator

from configs.base import Config, execution_option, option
from configs.training import TrainingConfig

# Below this a LoRA hardly moves: it is a rate for full fine-tuning.
LOW_LEARNING_RATE = 1e-5


class DataSource(Config):
    """A file of rows, and its part in an epoch."""

    file: str = option(..., "*.examples.yaml, or JSONL with messages or prompt and completion")
    weight: float | None = option(
        None, "share of an epoch's rows, beside the other files' (default: all rows of all)", gt=0
    )


class SftConfig(TrainingConfig):
    """Fine-tune a LoRA adapter on conversations; every checkpoint is a PEFT directory."""

    presets: ClassVar[str] = "sft"

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
    schedule: Literal["linear", "cosine", "constant"] = option("linear", "after the warm-up")
    warmup_steps: int = option(5, "steps until the peak", ge=0)
    warmup_share: float | None = option(None, "the same as a share of all steps", ge=0, lt=1)

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
    def max_row_tokens(self) -> int:
        """Tokens of the longest row that is trained on."""
        return self.max_tokens
