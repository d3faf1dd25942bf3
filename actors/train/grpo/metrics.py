"""What a step of GRPO says about itself; docs/grpo.md explains each number."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class GrpoMetrics:
    """One step. Numbers of tokens are over what the policy said in the step's rollouts."""

    step: int  # steps done, this one included
    version: int  # of the policy after it: one more than steps
    # Rewards
    reward: float  # mean over all rollouts, those of groups without signal included
    reward_std: float  # mean over the groups of the standard deviation within
    correct: float | None  # share of the rollouts, where the task tells right from wrong
    groups: int  # sampled
    no_signal: int  # of these, not learned from: equal rewards, all masked, or one left
    replaced: int  # groups without signal in whose place others were sampled
    lost: int  # rollouts whose reward could not be had
    # Lengths
    tokens: int  # said by the policy
    length: float  # mean tokens of a rollout
    max_length: int
    cut: float  # share of the rollouts that max_tokens cut
    # The policy
    entropy: float  # -mean log-probability of the sampled tokens, by the sampler
    loss: float
    clipped: float  # share of the tokens (gspo: answers) whose ratio was clipped
    grad_norm: float | None
    learning_rate: float
    kl_base: float | None  # k3 to the base, per token; None where the base was not asked
    # Sampler against trainer, on the sampler's own tokens
    kl: float  # k3 of the trainer from the sampler, per token
    ratio: float  # mean of exp(trainer - sampler)
    abs_ratio: float  # mean of exp|trainer - sampler|
    ess: float  # effective sample size of these ratios, as a share of the tokens
    staleness: float  # mean number of versions that the tokens' own is behind
    max_staleness: int
    # Time
    rollout_s: float  # from the first request of the batch to its last reward
    wait_s: float  # of the trainer, for the batch
    train_s: float
    handover_s: float  # from the end of the step to the version's acknowledgement
    tokens_per_s: float  # `tokens` over the whole step
    memory_mb: float
    probe_gap: float | None = None  # widest between server and trainer, per token of the probe
    rolled_back_to: int | None = None  # the checkpoint whose weights the next step starts from
    alarms: list[str] = field(default_factory=list)
    # Held-out problems, after steps that measure them
    eval_greedy: float | None = None  # mean reward of the greedy answer
    eval_reward: float | None = None  # of sampled answers
    eval_pass: dict[str, float] | None = None  # k -> pass@k
    # The same before the first step, told with it
    start_greedy: float | None = None
    start_reward: float | None = None
    start_pass: dict[str, float] | None = None
    details: dict[str, float] = field(default_factory=dict)  # means of the rewards' own numbers

    def fields(self) -> dict[str, Any]:
        """Name -> value, flat, without what this step did not measure."""
        flat = {name: value for name, value in asdict(self).items() if value is not None}
        details = flat.pop("details")
        if not flat["alarms"]:
            del flat["alarms"]
        for when in ("eval", "start"):
            passes = flat.pop(f"{when}_pass", {})
            flat |= {f"{when}_pass@{k}": share for k, share in passes.items()}
        return flat | {f"reward/{name}": value for name, value in details.items()}
