"""What `merge` may be told."""

from typing import Literal

from configs.base import JobConfig, execution_option, option


class MergeConfig(JobConfig):
    """Add an adapter to its base: a model that needs no peft."""

    adapter: str = execution_option(..., "PEFT directory of a LoRA")
    out: str = execution_option(..., "folder for the model; it must not be there yet")
    base_model: str | None = execution_option(
        None, "tiny, a hub id, or a directory (default: the one that the adapter names)"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "type of the weights that are written; auto is the base's own"
    )
