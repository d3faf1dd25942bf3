"""The `eval` job: an eval file and checkpoints to judged scores."""

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
    checkpoint_paths: list[str] = execution_option([], "adapter directories of that base")
    num_samples: int = option(1, "conversations per prompt and checkpoint", ge=1)
    sampling: SamplingConfig = option(SamplingConfig(), "how answers are sampled")
    seed: int = option(0, "seed of sampling and judging")
    judge_model: str | None = option(None, "the provider's model (default: the provider's own)")
    judge_temperature: float = option(0.0, "of the judge", ge=0)
    server: ServerConfig = option(ServerConfig(), "the adapter server")
