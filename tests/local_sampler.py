"""A policy's sampler on an engine in this process: no Ray, no server."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.requests import BASE, Question, Sample, SampleRequest
from actors.lm.sampler import Published, RemotePolicy
from configs.sections import SamplingConfig
from serve.calls import choice_seed
from serve.probe import probe_question


@dataclass
class LocalSampler:
    """`actors.lm.sampler.PolicySampler`. The engine stays its maker's."""

    engine: Engine
    probe: Question = field(init=False)
    asleep: bool = False

    def __post_init__(self) -> None:
        self.probe = probe_question(self.engine.limits.tokenizer)

    async def open(self) -> None:
        for model in self.engine.adapters():
            if model != BASE:
                await self.retire(model)

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        assert isinstance(policy, Adapter)
        assert not self.asleep
        model = f"{name}@{version}"
        await self.engine.load(model, policy)
        [scores] = await self.engine.score([model], [self.probe])
        told = [one.logprob for question in scores.questions for one in question]
        return Published(model, scores.adapter_digest, told)

    async def retire(self, model: str) -> None:
        await self.engine.unload(model)

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        assert not self.asleep
        return await self.engine.sample(
            [
                SampleRequest(
                    model,
                    prompt_ids,
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    stop=tuple(sampling.stop),
                    seed=choice_seed(seed, choice),
                    tempered=True,
                )
                for choice in range(n)
            ]
        )

    async def sleep(self) -> None:
        self.asleep = True

    async def wake(self) -> None:
        self.asleep = False

    async def close(self) -> None:
        pass
