"""What `sft` may be told."""

from typing import Literal

from pydantic import model_validator

from configs.base import RunConfig, execution_option, option
from configs.sections import LoraConfig

# Below this a LoRA hardly moves: it is a rate for full fine-tuning.
LOW_LEARNING_RATE = 1e-5


class SftConfig(RunConfig):
    """Fine-tune a LoRA adapter on conversations; every checkpoint is a PEFT directory."""

    preset: str | None = execution_option(None, "name of a file in configs/presets")
    base_model: str = option("tiny", '"tiny", a hub id or a directory')
    examples_file: str | None = execution_option(
        None, "datasets/*.examples.yaml, as generate writes it"
    )
    data_file: str | None = execution_option(None, "JSONL with messages rows")
    epochs: int = option(3, "passes over the data", ge=1)
    batch_size: int = option(8, "rows of one step, over all workers", ge=1)
    learning_rate: float = option(2e-4, "peak of the linear schedule", gt=0)
    warmup_steps: int = option(5, "steps until the peak", ge=0)
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm; 0 is off", ge=0)
    weight_decay: float = option(0.0, "of AdamW", ge=0)
    max_tokens: int = option(2048, "a longer row is an error", ge=2)
    seed: int = option(0, "of the data's order, the adapter's start and dropout", ge=0)
    dtype: Literal["float32", "bfloat16"] = option(
        "float32", "type of the base's weights; the adapter is float32"
    )
    lora: LoraConfig = option(LoraConfig(), "the adapter")
    save_every: int = option(0, "steps between checkpoints; 0 keeps the ends of epochs only", ge=0)
    num_workers: int = execution_option(1, "training processes", ge=1)
    micro_batch_tokens: int = execution_option(4096, "positions in one forward pass", ge=1)
    max_failures: int = execution_option(3, "failed workers that a run survives", ge=0)
    resume: bool = execution_option(True, "continue a run that was begun; false refuses it")

    @model_validator(mode="after")
    def _one_source(self) -> "SftConfig":
        if (self.examples_file is None) == (self.data_file is None):
            raise ValueError("give exactly one of examples_file=PATH and data_file=PATH")
        return self

    @property
    def data_path(self) -> str:
        """The one file that is trained on."""
        return self.examples_file or self.data_file or ""
