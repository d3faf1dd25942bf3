"""Batches of rollouts, sampled ahead of the trainer as far as their staleness allows.

The batch of step j may be begun once the newest version is at least j - max_staleness; version j
is the policy that step j starts from. Each of its groups is sampled by the newest version at its
own start. With max_staleness=0 that is version j, always.
"""

import asyncio
import time
from collections import defaultdict

from actors.train.grpo.background import Background, ended
from actors.train.grpo.collect import Collected, Collector
from actors.train.grpo.filters import group_has_signal
from actors.train.grpo.order import problem_at, seed_of
from actors.train.grpo.rollout import Batch
from configs.errors import JobFailed

_MOST_TRIED = 3  # times the problems of a batch, in search of groups with signal


class Ahead:
    """Begins batches in the background as versions are published."""

    def __init__(self, collector: Collector, background: Background) -> None:
        self._collector, self._background = collector, background
        self._config = collector.config
        self._sampling: asyncio.Task[None] | None = None
        self._batches: defaultdict[int, asyncio.Future[Batch]] = _futures()

    async def begin(self, step: int, position: int, rollbacks: int) -> None:
        """Sample the batches from that of `step` on; those that were begun before are dropped."""
        if self._sampling is not None:
            await ended(self._sampling)
        self._batches = _futures()
        self._sampling = self._background.spawn(self._sample(step, position, rollbacks))

    async def next(self, step: int) -> Batch:
        """The batch of a step, once it is whole. Each can be had once."""
        batch = await self._batches[step]
        del self._batches[step]
        return batch

    async def _sample(self, first: int, position: int, rollbacks: int) -> None:
        config = self._config
        async with asyncio.TaskGroup() as batches:
            for step in range(first, config.steps + 1):
                await self._collector.versions.reach(step - config.max_staleness)
                task = batches.create_task(self._batch(step, position, rollbacks))
                if config.no_signal == "replace":  # where the next begins is known at its end
                    position = (await task).position
                else:
                    position += config.problems_per_batch

    async def _batch(self, step: int, position: int, rollbacks: int) -> Batch:
        """Groups in the order of their positions, however they finish.

        A group without signal has one more drawn at once, so how many are drawn in the end does
        not depend on which of them finish first.
        """
        config = self._config
        may_replace = config.no_signal == "replace"
        most = config.problems_per_batch * (_MOST_TRIED if may_replace else 1)
        drawn: list[asyncio.Task[Collected]] = []

        async def one(at: int) -> Collected:
            found = await self._group(step, at, rollbacks)
            if len(drawn) < most and not group_has_signal(found.group, config.overlong):
                draw()
            return found

        def draw() -> None:
            drawn.append(groups.create_task(one(position + len(drawn))))

        async with asyncio.TaskGroup() as groups:
            for _ in range(config.problems_per_batch):
                draw()
        collected = [task.result() for task in drawn]
        if not any(one.group.rollouts_G for one in collected):
            raise JobFailed(
                f"Step {step}: the reward of none of its rollouts could be had, so there is "
                "nothing to learn from. What was done is kept: the same command continues the run."
            )
        batch = Batch(
            groups_P=[one.group for one in collected],
            replaced=len(drawn) - config.problems_per_batch,
            rollout_s=time.perf_counter() - min(one.began_s for one in collected),
            position=position + len(drawn),
        )
        self._batches[step].set_result(batch)
        return batch

    async def _group(self, step: int, position: int, rollbacks: int) -> Collected:
        config = self._config
        problem = problem_at(self._collector.environment.training, config.seed, position)
        # The position tells a problem's groups apart, where a batch holds it twice.
        seed = seed_of(config.seed, step, rollbacks, position, problem.key)
        return await self._collector.group(problem, config.group_size, config.sampling, seed)


def _futures() -> defaultdict[int, asyncio.Future[Batch]]:
    """By step: set by whoever samples its batch, waited for by whoever learns from it."""
    return defaultdict(asyncio.get_running_loop().create_future)
