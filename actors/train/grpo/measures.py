"""What a step says about itself: of its rollouts, of what they taught, of held-out problems."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from actors.train.grpo.alarms import alarms_of
from actors.train.grpo.evaluation import Evaluated
from actors.train.grpo.learn import Learnt
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.grpo.rollout import Batch, Rollout
from actors.train.metrics import process_memory_mb
from configs.grpo import GrpoConfig


def row_of(step: int, batch: Batch, learnt: Learnt, config: GrpoConfig) -> GrpoMetrics:
    """The metrics of a step with its alarms, its times not known yet."""
    groups = batch.groups_P
    rollouts = [rollout for group in groups for rollout in group.rollouts_G]
    lengths = [rollout.num_tokens for rollout in rollouts]
    judged = [r.reward.is_correct for r in rollouts if r.reward.is_correct is not None]
    behind = [(step - turn.version, len(turn.token_ids)) for r in rollouts for turn in r.turns]
    row = GrpoMetrics(
        step=step,
        version=step + 1,
        reward=fmean(rollout.reward.value for rollout in rollouts),
        reward_std=fmean(float(group.rewards_G.std()) for group in groups if group.rollouts_G),
        correct=fmean(judged) if judged else None,
        groups=len(groups),
        no_signal=learnt.no_signal,
        replaced=batch.replaced,
        lost=sum(group.lost for group in groups),
        tokens=sum(lengths),
        length=fmean(lengths),
        max_length=max(lengths),
        cut=fmean(rollout.is_cut for rollout in rollouts),
        entropy=learnt.entropy,
        loss=learnt.loss,
        clipped=learnt.clipped,
        grad_norm=learnt.grad_norm,
        learning_rate=config.learning_rate,
        kl_base=learnt.kl_base,
        kl=learnt.kl,
        ratio=learnt.ratio,
        abs_ratio=learnt.abs_ratio,
        ess=learnt.ess,
        staleness=sum(versions * tokens for versions, tokens in behind) / max(1, sum(lengths)),
        max_staleness=max(versions for versions, _ in behind),
        rollout_s=batch.rollout_s,
        wait_s=0.0,
        train_s=0.0,
        handover_s=0.0,
        tokens_per_s=0.0,
        memory_mb=process_memory_mb(),
        details=_mean_details(rollouts),
    )
    return replace(row, alarms=alarms_of(row, config.alarms))


def with_start(row: GrpoMetrics, found: Evaluated) -> GrpoMetrics:
    """The row of the first step, with what the policy was worth before it."""
    return replace(
        row, start_greedy=found.greedy, start_reward=found.reward, start_pass=found.passes
    )


def with_evaluation(row: GrpoMetrics, found: Evaluated) -> GrpoMetrics:
    """A row with what its policy is worth."""
    return replace(row, eval_greedy=found.greedy, eval_reward=found.reward, eval_pass=found.passes)


def _mean_details(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Means over the rollouts that tell a number under a name."""
    told: defaultdict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        for name, value in rollout.reward.details.items():
            if not isinstance(value, str):
                told[name].append(value)
    return {name: fmean(values) for name, values in sorted(told.items())}
