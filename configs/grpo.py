"""What `grpo` may be told."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from configs.base import Config, execution_option, option
from configs.sections import PooledConfig, SamplingConfig, ServerConfig
from configs.training import TrainingConfig

AdvantageName = Literal["mean", "std", "leave_one_out"]
PolicyLossName = Literal["importance_sampling", "ppo", "cispo", "gspo"]
ReductionName = Literal["token", "sequence", "dr_grpo"]
KlPlace = Literal["reward", "k2", "k3"]
OverlongName = Literal["keep", "mask", "penalise"]


class JudgeRewardConfig(Config):
    """A property as a reward: what a judge says of an answer, from 0 to 100."""

    property: str | None = option(None, "what the judge looks for", min_length=1)
    rubric: str | None = execution_option(
        None, "text file with what the judge is told (default: the project's own)"
    )
    direction: Literal["more", "less"] = option("more", "whether the property earns or costs")
    coherence_floor: float = option(
        50.0,
        "an answer less coherent than this earns nothing; 0 asks no judge for it",
        ge=0,
        le=100,
    )
    models: list[str] = option([], "judges (default: the provider's own)")
    votes: int = option(5, "samples of a number where logprobs are not given", ge=1)


class WarmStartConfig(Config):
    """Supervised steps on the task's own answers, for a policy that is right now and then."""

    steps: int = option(0, "before the first rollout", ge=0)
    batch_size: int = option(64, "answers of one step", ge=1)
    learning_rate: float = option(1e-3, "falls to 0 linearly", gt=0)


class AlarmConfig(Config):
    """Where a step's numbers stop being those of a healthy run."""

    min_ratio: float = option(0.5, "mean of exp(trainer - sampler) over tokens", ge=0)
    max_ratio: float = option(2.0, "mean of exp(trainer - sampler) over tokens", gt=0)
    min_ess: float = option(0.3, "effective sample size, as a share of the tokens", ge=0, le=1)
    max_kl: float = option(0.1, "|KL| between sampler and trainer per token", gt=0)
    max_probe_gap: float | None = option(
        None,
        "between the sampler's and the trainer's log-probability of a probe's token (default: "
        "1e-3, or 0.1 where one of them does not compute in float32)",
        gt=0,
    )


class GrpoConfig(TrainingConfig, PooledConfig):
    """Train a LoRA adapter on rewards: groups of sampled answers, each against its group's mean."""

    presets: ClassVar[str] = "grpo"
    aliases: ClassVar[dict[str, str]] = {"model_name": "base_model"}

    # The task.
    task: Literal["gsm8k", "arithmetic", "prompts"] = option(
        "gsm8k", "problems: of GSM8K, sums made here, or those of data="
    )
    numbers: Literal["digits", "words"] = option(
        "digits", 'arithmetic: "What is 47 + 85?", or "What is four seven plus eight five?"'
    )
    data: str | None = execution_option(
        None,
        "JSONL of problems: question and answer, prompt or messages (gsm8k: default the hub's)",
    )
    eval_data: str | None = execution_option(None, "JSONL of problems that are measured only")
    eval_share: float = option(
        0.0, "share of data= held out for that, where there is no eval_data", ge=0, lt=1
    )
    checker: str = option(
        "numeric", "exact, numeric, regex, math_verify, judge, or module:function"
    )
    system_prompt: str | None = option(None, "comes before every problem")
    judge: JudgeRewardConfig = option(JudgeRewardConfig(), "the reward of checker=judge")
    warm_start: WarmStartConfig = option(WarmStartConfig(), "supervised steps first")

    # The rollouts.
    steps: int = option(200, "optimiser's batches in all", ge=1)
    problems_per_batch: int = option(32, "of one step", ge=1)
    group_size: int = option(8, "answers to each problem", ge=2)
    temperature: float = option(1.0, "of sampling; divides the trainer's logits as well", gt=0)
    max_tokens: int = option(256, "of one answer", ge=1)
    stop: list[str] = option([], "strings that end an answer")
    max_turns: int = option(8, "answers in one conversation, where the task talks back", ge=1)
    max_prompt_tokens: int = option(2048, "longer problems are refused before the run", ge=1)
    max_staleness: int = option(
        0, "versions that the sampler may be behind the trainer; 0 takes turns", ge=0
    )

    # What is learned from them.
    learning_rate: float = option(4e-5, "of every step", gt=0)
    advantages: AdvantageName = option(
        "mean", "an answer's reward less its group's mean, that over its spread, or leave-one-out"
    )
    loss: PolicyLossName = option("importance_sampling", "what is lowered")
    clip_low: float = option(0.2, "ppo, gspo: ratios below 1 - this are clipped", ge=0, le=1)
    clip_high: float = option(0.2, "ppo, gspo: above 1 + this; cispo: above 1 + this", gt=0)
    reduction: ReductionName = option(
        "token", "mean over tokens, over answers, or a sum over answers by max_tokens (Dr. GRPO)"
    )
    kl_to_base: float = option(0.0, "coefficient of the KL divergence to the base; 0 is off", ge=0)
    kl_in: KlPlace = option("reward", "k1 in the reward, or k2 or k3 in the loss")
    truncated_is: float | None = option(
        None,
        "cap of the weight between sampler and trainer (default: 2 when stale, else off)",
        gt=0,
    )
    no_signal: Literal["drop", "replace"] = option(
        "drop", "groups whose rewards are all equal: left out, or others sampled in their place"
    )
    overlong: OverlongName = option(
        "keep", "answers that max_tokens cut: as they are, not learned from, or worth nothing"
    )
    minibatches: int = option(1, "optimiser steps that a batch is split into", ge=1)
    epochs: int = option(1, "times that a batch is learned from", ge=1)

    # What is measured.
    eval_every: int = option(
        0, "steps between evaluations; 0: before the first and at the end", ge=0
    )
    eval_problems: int = option(200, "of the held-out ones, at most", ge=1)
    eval_samples: int = option(4, "of each, for the mean reward and pass@k", ge=1)
    save_every: int = option(20, "steps between checkpoints", ge=1)
    show_every: int = execution_option(20, "steps between tables of answers; 0: none", ge=0)
    alarms: AlarmConfig = option(AlarmConfig(), "when a step is told to be wrong")
    on_alarm: Literal["warn", "stop", "rollback"] = option(
        "warn", "what else happens then: the run stops, or goes on from its last checkpoint"
    )
    server: ServerConfig = option(ServerConfig(), "the adapter server that samples")
    share_gpus: bool = execution_option(
        False, "sampler and trainer take turns on the same GPUs (needs max_staleness=0)"
    )

    @field_validator("server")
    @classmethod
    def _computes_alike(cls, server: ServerConfig, info: ValidationInfo) -> ServerConfig:
        """The sampler's type is the trainer's, unless it is given: both hold the same policy."""
        if "dtype" in server.model_fields_set or "dtype" not in info.data:
            return server
        return server.model_copy(update={"dtype": info.data["dtype"]})

    @model_validator(mode="after")
    def _belongs_together(self) -> "GrpoConfig":
        if faults := [*self._task_faults(), *self._policy_faults()]:
            raise ValueError("; ".join(faults))
        return self

    def _task_faults(self) -> Iterator[str]:
        if self.task == "prompts" and self.data is None:
            yield "task=prompts needs data=PATH"
        if self.numbers == "words" and self.task != "arithmetic":
            yield f"numbers=words is for task=arithmetic, not for {self.task}: leave it out"
        if self.checker == "judge" and self.judge.property is None:
            yield "checker=judge needs judge.property=NAME"

    def _policy_faults(self) -> Iterator[str]:
        """Where what is trained could not be what was sampled, and where neither could be."""
        if self.lora.dropout:
            yield "lora.dropout must be 0: what is trained must be what was sampled"
        if self.quantization != "none":
            yield (
                f"quantization={self.quantization}: the server holds the base unquantized, and "
                "what is trained must be what was sampled; leave it out (dtype=bfloat16 halves "
                "the base)"
            )
        if self.share_gpus and self.max_staleness:
            yield "share_gpus=true needs max_staleness=0: the two take turns"
        if self.backend == "tinker":
            if self.share_gpus:
                yield "share_gpus=true is for backend=ray: the service has GPUs of its own"
            if self.temperature != 1:
                yield "backend=tinker needs temperature=1: the service's losses know no other"
        elif self.server.engine == "vllm" and self.temperature != 1:
            yield "server.engine=vllm needs temperature=1: it tells no other's log-probabilities"

    @property
    def max_row_tokens(self) -> int:
        """Tokens of the longest row that is trained on."""
        return self.max_prompt_tokens + self.max_tokens * self.max_turns

    @property
    def sampling(self) -> SamplingConfig:
        """How rollouts are sampled: without top-p, which the trainer could not follow."""
        return SamplingConfig(
            temperature=self.temperature, max_tokens=self.max_tokens, stop=self.stop
        )

    @property
    def is_cap(self) -> float | None:
        """The cap of the weights between sampler and trainer, None where there are none."""
        return 2.0 if self.truncated_is is None and self.max_staleness else self.truncated_is

    @property
    def is_float32(self) -> bool:
        """Whether sampler and trainer both compute in it; a service does not tell."""
        return self.dtype == self.server.dtype == "float32" and self.backend != "tinker"

    @property
    def max_probe_gap(self) -> float:
        """`alarms.max_probe_gap`, or what rounding alone may make of it.

        Measured with adapters that were delivered: below 1e-4 in float32, and up to 0.02 where
        both sides compute in bfloat16.
        """
        given = self.alarms.max_probe_gap
        return given if given is not None else 1e-3 if self.is_float32 else 0.1
