"""A run's sampler with a look at the clock.

When a step ended, and when the version that came of it said its first token, is told by one clock:
both happen in the process that leads the training. The token is asked for as soon as the version
is there, before the rollouts are; the step is a few milliseconds longer for it.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from actors.lm.adapter import Adapter
from actors.lm.requests import Question, Sample
from actors.lm.sampler import PolicySampler, Published, RemotePolicy
from configs.sections import SamplingConfig

_ONE_TOKEN = SamplingConfig(max_tokens=1)


class Handover(NamedTuple):
    """What `time.perf_counter` said of one step."""

    stepped_s: float  # when the optimiser's step was over
    said_s: float  # when the first token of the new version had come back


class TimedSampler:
    """A `PolicySampler` that writes a line of JSON for every step."""

    def __init__(self, sampler: PolicySampler, question_ids: Sequence[int], times: str) -> None:
        """The first token answers `question_ids`; the lines go to the file `times`."""
        self._sampler, self._question_ids, self._times = sampler, question_ids, times
        self._stepped_s: float | None = None
        self._hook: RemovableHandle | None = None

    @property
    def probe(self) -> Question | None:
        """The sampler's."""
        return self._sampler.probe

    async def open(self) -> None:
        """Open the sampler, and be told of every step of this process's optimiser."""
        self._hook = register_optimizer_step_post_hook(self._note)
        await self._sampler.open()

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        """Publish it, and have it say a token."""
        published = await self._sampler.publish(name, version, policy)
        [sample] = await self.sample(published.model, self._question_ids, 1, _ONE_TOKEN, seed=0)
        said_s = time.perf_counter()
        if sample.adapter_digest != policy.digest:
            raise RuntimeError(f"{published.model} was answered by {sample.adapter_digest}")
        if self._stepped_s is not None:  # the first version comes of no step
            line = json.dumps(Handover(self._stepped_s, said_s))
            self._stepped_s = None
            with Path(self._times).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return published

    async def retire(self, model: str) -> None:
        """As the sampler does."""
        await self._sampler.retire(model)

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        """As the sampler does."""
        return await self._sampler.sample(model, prompt_ids, n, sampling, seed)

    async def sleep(self) -> None:
        """As the sampler does."""
        await self._sampler.sleep()

    async def wake(self) -> None:
        """As the sampler does."""
        await self._sampler.wake()

    async def close(self) -> None:
        """As the sampler does; the optimiser tells no more."""
        if self._hook is not None:
            self._hook.remove()
        await self._sampler.close()

    def _note(self, *_: Any) -> None:
        self._stepped_s = time.perf_counter()


def read_times(path: str) -> list[Handover]:
    """The steps of a run, in their order."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [Handover(*json.loads(line)) for line in lines]
