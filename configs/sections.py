"""Sections and field groups that several jobs share."""

from typing import Literal

from configs.base import Config, RunConfig, execution_option, option

Targets = Literal["all-linear"] | list[str]


class LoraConfig(Config):
    """Which weights are adapted, and how."""

    rank: int = option(16, "rank of the update", ge=1)
    alpha: float = option(32, "scale is alpha / rank", gt=0)
    dropout: float = option(0.0, "dropout on the adapter's input", ge=0, lt=1)
    targets: Targets = option("all-linear", "module names, or all linear layers but the head")
    rslora: bool = option(False, "scale is alpha / sqrt(rank)")
    layers: list[int] | None = option(None, "numbers of the layers that are adapted; all of them")


class SamplingConfig(Config):
    """How answers are sampled."""

    temperature: float = option(1.0, "0 is greedy", ge=0)
    top_p: float = option(1.0, "nucleus", gt=0, le=1)
    max_tokens: int = option(128, "tokens of one answer at most", ge=1)
    stop: list[str] = option([], "strings that end an answer")


class PoolConfig(Config):
    """How chat-completion calls are made. None of it changes a result."""

    max_concurrency: int = execution_option(128, "calls in flight at most", ge=1)
    max_workers: int = execution_option(4, "processes that make calls, at most", ge=1)
    max_attempts: int = execution_option(6, "tries of one call before it fails", ge=1)
    timeout_s: float = execution_option(120.0, "seconds until a call is tried again", gt=0)
    requests_per_minute: float | None = execution_option(
        None, "the account's limit, where it is known", gt=0
    )
    tokens_per_minute: float | None = execution_option(
        None, "the account's limit, where it is known", gt=0
    )
    prompt_usd_per_million: float | None = execution_option(
        None, "price of a million prompt tokens, where the provider states none", ge=0
    )
    completion_usd_per_million: float | None = execution_option(
        None, "price of a million completion tokens, where the provider states none", ge=0
    )


class PooledConfig(RunConfig):
    """What jobs share whose calls to a chat-completion provider cost money."""

    provider: str | None = option(
        None, "offline, openrouter, replay, or a base URL (default: openrouter if its key is set)"
    )
    budget_usd: float | None = execution_option(
        None, "dollars that this run may cost: it stops before it would cost more", gt=0
    )
    study_budget_usd: float | None = execution_option(
        None, "dollars that all runs under the storage root may cost together", gt=0
    )
    on_error: Literal["continue", "stop"] = execution_option(
        "continue", "what a call that finally failed does to the others"
    )
    pool: PoolConfig = execution_option(PoolConfig(), "how calls are made")


class WriterConfig(PooledConfig):
    """What jobs share that have a model write."""

    model: str | None = option(None, "the provider's model (default: the provider's own)")
    temperature: float = option(1.0, "of the provider's model", ge=0)
    max_tokens: int | None = option(
        None, "tokens of one reply at most; bounds what a call may cost", ge=1
    )
    seed: int = option(0, "seed of every call")


class ServerConfig(Config):
    """How the adapter server is laid out. None of it changes a result."""

    engine: Literal["torch", "vllm"] = execution_option("torch", "what runs the model")
    device: Literal["auto", "cpu", "cuda"] = execution_option("auto", "where the engine runs")
    dtype: Literal["float32", "bfloat16"] = option("float32", "type of the base's weights")
    max_adapters: int = execution_option(64, "adapters in slots at once; more take turns", ge=1)
    max_batch: int = execution_option(64, "rows in one step at most", ge=1)
    step_tokens: int = execution_option(
        512, "tokens in one step at most; longer prompts are read in chunks", ge=16
    )
    cache_tokens: int = execution_option(
        65_536, "tokens whose keys and values are held at once", ge=256
    )
    num_replicas: int = execution_option(1, "engines side by side", ge=1)
    max_replicas: int | None = execution_option(
        None, "engines when many requests wait (default: num_replicas)", ge=1
    )
    threads: int | None = execution_option(
        None,
        "of a torch engine on a CPU (default: the machine's cores, shared by the replicas)",
        ge=1,
    )
    max_queued_requests: int = execution_option(
        4096, "requests that may wait before others are told to come later", ge=1
    )
