"""Rollouts from the adapter server: a training loop's sampler on a `ServerClient`.

It travels to the worker that leads the training. What passes by itself is waited for: a replica
that died is replaced by Ray Serve and finds every version on the shelf, a queue that is full gets
shorter.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actors.lm.adapter import Adapter
from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, Question, Sample
from actors.lm.sampler import Published, RemotePolicy
from configs.errors import JobFailed
from configs.sections import SamplingConfig
from serve.calls import Call, Overloaded, Unavailable
from serve.client import ServerClient

_log = logging.getLogger(__name__)

_PATIENCE_S = 600.0  # a replica of a large base takes minutes to start
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0

T = TypeVar("T")

_pause = asyncio.sleep


@dataclass(frozen=True)
class ServerSampler:
    """`actors.lm.sampler.PolicySampler` on the adapter server. All its adapters are the run's."""

    client: ServerClient
    probe: Question
    patience_s: float = _PATIENCE_S

    async def open(self) -> None:
        """Wake the server, and unload what earlier processes of the run published."""
        await self.wake()  # a trainer may have died while it slept
        described = await self._patient("the adapter server", self.client.describe)
        for model in described.adapters:
            if model != BASE:
                await self.retire(model)

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        """Load `name@version` on a replica; all of them know it when this returns."""
        if not isinstance(policy, Adapter):
            raise TypeError("the adapter server samples from adapters, not from a service's paths")
        full = f"{name}@{version}"

        async def load() -> Published:
            try:
                loaded = await self.client.load(full, adapter=policy)
            except RefusedAdapter as refusal:
                there = await self._there(full, policy.digest)
                if there is None:
                    raise JobFailed(f"The server does not take {full}: {refusal}.") from None
                return there
            return Published(loaded.model, loaded.digest, loaded.probe)

        return await self._patient(f"publishing {full}", load)

    async def retire(self, model: str) -> None:
        """Unload a version; what was asked of it before is answered."""

        async def unload() -> None:
            try:
                await self.client.unload(model)
            except UnknownAdapter:  # by a call whose answer was lost
                _log.info("%s was not there to be retired", model)

        await self._patient(f"retiring {model}", unload)

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        """The prompt completed n times, together: all n read it once."""
        call = Call(
            model,
            [list(prompt_ids)],
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=tuple(sampling.stop),
            seed=seed,
            n=n,
            tempered=True,
        )
        answer = await self._patient(f"sampling from {model}", lambda: self.client.ask(call))
        return [choice.sample for choice in answer.choices]

    async def sleep(self) -> None:
        """Have the server leave its devices to the trainer; what is asked now waits for `wake`."""
        await self._patient("putting the server to sleep", self.client.sleep)

    async def wake(self) -> None:
        """Take them back."""
        await self._patient("waking the server", self.client.wake)

    async def close(self) -> None:
        """Nothing is held here."""

    async def _there(self, full: str, digest: str) -> Published | None:
        """A version that was loaded by a call whose answer was lost."""
        described = await self.client.describe()
        if described.adapters.get(full) != digest:
            return None
        [scores] = await self.client.score([full], [self.probe])
        told = [likelihood.logprob for question in scores.questions for likelihood in question]
        return Published(full, scores.adapter_digest, told)

    async def _patient(self, doing: str, ask: Callable[[], Awaitable[T]]) -> T:
        """What is answered in the end; JobFailed when nothing is for too long, or ever will."""
        loop = asyncio.get_running_loop()
        until_s, pause_s = loop.time() + self.patience_s, _FIRST_PAUSE_S
        while True:
            try:
                return await ask()
            except Overloaded as error:
                wait_s, was = max(pause_s, error.retry_after_s), "too busy"
                refusal: Exception = error
            except Unavailable as error:
                if not await asyncio.to_thread(self.client.has_shelf):
                    raise JobFailed(
                        f"The adapter server lost its shelf of adapters ({doing}): without it "
                        "nothing is answered again. The same command continues the run."
                    ) from None
                wait_s, was, refusal = pause_s, "not there", error
            except (BadRequest, BrokenAdapter, UnknownAdapter) as error:
                raise JobFailed(f"The adapter server refused {doing}: {error}.") from None
            if loop.time() + wait_s > until_s:
                raise JobFailed(
                    f"The adapter server was {was} for {self.patience_s:.0f} s ({doing}): "
                    f"{refusal}. The same command continues the run."
                ) from None
            await _pause(wait_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
