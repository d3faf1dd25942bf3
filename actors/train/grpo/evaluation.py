"""What the policy is worth on held-out problems.

Seeds are the same all through a run, so that what changes from one evaluation to the next is the
policy.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb
from statistics import fmean

from actors.train.grpo.collect import Collector
from actors.train.grpo.environment import Problem
from actors.train.grpo.order import seed_of
from actors.train.grpo.rollout import Group, Rollout
from configs.sections import SamplingConfig


@dataclass(frozen=True)
class Evaluated:
    """Means over held-out problems; None where there is nothing to take the mean of."""

    greedy: float | None  # reward of the greedy answer
    reward: float | None  # of sampled answers
    passes: dict[str, float] | None  # k -> pass@k; None where nothing is right or wrong
    problems: int
    lost: int  # answers whose reward could not be had


async def evaluate(collector: Collector, problems: Sequence[Problem]) -> Evaluated:
    """Each problem answered once greedily, and `eval_samples` times as rollouts are sampled."""
    config = collector.config
    rows = config.problems_per_batch * config.group_size  # as many as a batch has at once
    collector = replace(collector, room=asyncio.Semaphore(-(-rows // config.eval_samples)))
    greedy = config.sampling.model_copy(update={"temperature": 0.0})
    async with asyncio.TaskGroup() as both:
        one = both.create_task(_answered(collector, problems, 1, greedy))
        some = both.create_task(
            _answered(collector, problems, config.eval_samples, config.sampling)
        )
    answered, sampled = one.result(), some.result()
    return Evaluated(
        greedy=_mean_reward(answered),
        reward=_mean_reward(sampled),
        passes=_passes(sampled, config.eval_samples),
        problems=len(problems),
        lost=sum(group.lost for group in (*answered, *sampled)),
    )


def pass_at(n: int, correct: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k answers is right, `correct` of n being so.

    1 - C(n - correct, k) / C(n, k): Chen et al. 2021 (arXiv:2107.03374), equation 1.
    """
    return 1.0 - comb(n - correct, k) / comb(n, k)


async def _answered(
    collector: Collector, problems: Sequence[Problem], n: int, sampling: SamplingConfig
) -> list[Group]:
    seed = collector.config.seed
    async with asyncio.TaskGroup() as groups:
        tasks = [
            groups.create_task(
                collector.group(problem, n, sampling, seed_of(seed, "evaluation", problem.key))
            )
            for problem in problems
        ]
    return [task.result().group for task in tasks]


def _mean_reward(groups: Sequence[Group]) -> float | None:
    rewards = [rollout.reward.value for rollout in _rollouts(groups)]
    return fmean(rewards) if rewards else None


def _passes(groups: Sequence[Group], most: int) -> dict[str, float] | None:
    """Of k = 1, 2, 4, ...: k -> pass@k.

    A problem of which fewer than k answers have a reward says nothing about it.
    """
    if any(rollout.reward.is_correct is None for rollout in _rollouts(groups)):
        return None
    passes = {}
    for k in (1 << i for i in range(most.bit_length())):
        told = [
            pass_at(len(group.rollouts_G), _correct(group), k)
            for group in groups
            if len(group.rollouts_G) >= k
        ]
        if told:
            passes[str(k)] = fmean(told)
    return passes or None


def _correct(group: Group) -> int:
    return sum(rollout.reward.is_correct is True for rollout in group.rollouts_G)


def _rollouts(groups: Sequence[Group]) -> list[Rollout]:
    return [rollout for group in groups for rollout in group.rollouts_G]
