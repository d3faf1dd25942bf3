"""Where a training loop has its rollouts from: a blocking face on an event loop in a thread.

There the sampler is asked, the task plays its part, and batches are begun ahead of the trainer.
Nothing of it outlives `close`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.adapter import Adapter
from actors.lm.base import context_tokens
from actors.lm.sampler import PolicySampler, Published, RemotePolicy
from actors.train.grpo.ahead import Ahead
from actors.train.grpo.background import Background
from actors.train.grpo.collect import Collector
from actors.train.grpo.environment import Environment
from actors.train.grpo.evaluation import Evaluated, evaluate
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.loop_thread import LoopThread
from actors.train.grpo.rollout import Batch
from actors.train.grpo.versions import Version, Versions
from configs.grpo import GrpoConfig

_log = logging.getLogger(__name__)

_CLOSING_S = 10.0  # for a task and a sampler to give back what they hold

T = TypeVar("T")


class RolloutSource:
    """Batches of rollouts by versions of the policy.

    An error of a sample, a reward or a retirement is raised by the method that waits then, or by
    the next one; after it there is only `close`.
    """

    def __init__(
        self,
        environment: Environment,
        sampler: PolicySampler,
        tokenizer: PreTrainedTokenizerBase,
        config: GrpoConfig,
        *,
        name: str,
        files: RolloutFiles,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`name` is what versions are published under; `tick` is called while a method waits."""
        self._environment, self._sampler, self._tokenizer = environment, sampler, tokenizer
        self._config, self._name, self._files, self._tick = config, name, files, tick
        self._thread: LoopThread | None = None
        self._life: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Open the task and the sampler."""
        self._thread = LoopThread("rollouts")
        self._thread.run(self._open(), self._tick)

    def publish(self, version: int, policy: Adapter | RemotePolicy) -> Published:
        """Hand a version over to the sampler; batches that waited for it are begun.

        The rollouts of the batch before it are in the run's files by then.
        """
        return self._answer(lambda: self._publish(version, policy))

    def begin(self, step: int, position: int, rollbacks: int) -> None:
        """Sample for `step` (from 1) and those after it, drawing problems from `position` on.

        What was begun before is dropped.
        """
        self._answer(lambda: self._ahead.begin(step, position, rollbacks))

    def next(self, step: int) -> Batch:
        """The batch that a step learns from; its rollouts are written while it is learned from."""
        return self._answer(lambda: self._next(step))

    def evaluate(self) -> Evaluated:
        """What the newest version is worth on held-out problems."""
        problems = self._environment.held_out[: self._config.eval_problems]
        return self._answer(lambda: evaluate(self._collector, problems))

    def sleep(self) -> None:
        """Leave the device to the trainer; no batch may be under way."""
        self._answer(self._sleep)

    def wake(self) -> None:
        """Let the sampler have it back."""
        self._answer(self._sampler.wake)

    def close(self) -> None:
        """End the thread with all that it does, in the middle of it where need be."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.run(self._close())
            thread.stop()

    def _answer(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._thread is None:
            raise RuntimeError("the source of rollouts is not open")
        return self._thread.run(self._background.answer(work), self._tick)

    # In the thread:

    async def _open(self) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(opened))
        await asyncio.wait({self._life, opened}, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            self._life.result()

    async def _live(self, opened: "asyncio.Future[None]") -> None:
        """One task enters and leaves the environment, as what it is made of may demand."""
        config, self._background = self._config, Background()
        self._unused: asyncio.Queue[str] = asyncio.Queue()
        self._versions = Versions(self._unused.put_nowait)
        async with self._environment:
            await self._sampler.open()
            try:
                self._collector = Collector(
                    self._environment,
                    self._sampler,
                    self._tokenizer,
                    config,
                    self._versions,
                    asyncio.Semaphore(config.problems_per_batch),
                    context_tokens(config.base_model),
                )
                self._ahead = Ahead(self._collector, self._background)
                self._background.spawn(self._retire())
                opened.set_result(None)
                await self._background.over()
            finally:
                await self._keep_up()
                await self._background.end()
                await self._sampler.close()

    async def _close(self) -> None:
        life = self._life
        if life is None or life.done():
            return
        life.cancel()
        await asyncio.wait({life}, timeout=_CLOSING_S)
        if not life.done():
            _log.warning("the task and its sampler did not close within %g s", _CLOSING_S)
        elif not life.cancelled() and (error := life.exception()):
            _log.warning("the task and its sampler did not close: %s", error)

    async def _publish(self, version: int, policy: Adapter | RemotePolicy) -> Published:
        await self._keep_up()
        published = await self._sampler.publish(self._name, version, policy)
        self._versions.add(Version(version, published))
        return published

    async def _next(self, step: int) -> Batch:
        batch = await self._ahead.next(step)
        await self._keep_up()
        keeping = asyncio.to_thread(self._files.keep, step, batch)
        self._keeping = self._background.spawn(keeping)
        return batch

    async def _keep_up(self) -> None:
        """Wait for what is being written; an error there is that of all that is asked."""
        if self._keeping is not None:
            await asyncio.wait({self._keeping})

    async def _sleep(self) -> None:
        await self._unused.join()
        await self._sampler.sleep()

    async def _retire(self) -> None:
        while True:
            await self._sampler.retire(await self._unused.get())
            self._unused.task_done()
