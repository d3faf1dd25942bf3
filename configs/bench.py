"""The `bench` job."""

from typing import Literal

from configs.base import JobConfig, execution_option, option


class BenchConfig(JobConfig):
    """Measure a part of the project against its peers, and say what it reaches."""

    name: str | None = option(None, "which bench, e.g. `bench pool`; without it they are listed")
    only: list[str] = option([], "these figures alone (default: all of the bench)")
    data_dir: str | None = option(
        None,
        "folder of data. `bench score`: advanced-ai-risk/human_generated_evals; `bench sft`: GSM8K",
    )
    device: Literal["cpu", "cuda"] = option("cpu", "`bench serve`, `bench sft`: where models run")
    repeats: int = option(3, "measurements of every figure; its value is their median", ge=1)
    out: str | None = execution_option(None, "JSON file for the rows of the table")
