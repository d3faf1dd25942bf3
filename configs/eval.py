"""The `eval` job: an eval file and checkpoints to judged scores."""

from typing import Literal

from pydantic import field_validator

from configs.base import execution_option, option
from configs.sections import PooledConfig, SamplingConfig, ServerConfig


class EvalConfig(PooledConfig):
    """Sample base and checkpoints on evaluation prompts and judge every conversation."""

    eval_file: str = execution_option(
        ..., "an .eval.yaml file, or a JSONL of questions (`question` field)"
    )
    property: str | None = option(None, "what a JSONL of questions is judged on", min_length=1)
    max_prompts: int | None = option(None, "only the first prompts of the file", ge=1)
    base_model: str = option("tiny", "tiny, a hub id, or a directory")
    checkpoint_paths: list[str] = execution_option(
        [], "adapter directories of that base, or tinker:// paths"
    )
    num_samples: int = option(1, "conversations per prompt and checkpoint", ge=1)
    sampling: SamplingConfig = option(SamplingConfig(), "how answers are sampled")
    seed: int = option(0, "seed of sampling and judging")
    judge_models: list[str] = option(
        [], "the provider's models, each of which judges everything (default: the provider's own)"
    )
    judge_score: Literal["verdict", "number"] = option(
        "verdict", "reasoning, score and yes or no; or a bare number, weighted by its probability"
    )
    judge_temperature: float = option(0.0, "of a verdict", ge=0)
    judge_max_tokens: int | None = option(
        None, "tokens of one verdict at most; bounds what a call may cost", ge=1
    )
    judge_votes: int = option(5, "samples of a number where logprobs are not given", ge=1)
    rubrics: dict[str, str] = execution_option(
        {}, "text files with what the judge is told, by property (default: the project's own)"
    )
    server: ServerConfig = option(ServerConfig(), "the adapter server")

    @field_validator("judge_models")
    @classmethod
    def _each_once(cls, models: list[str]) -> list[str]:
        return list(dict.fromkeys(models))
