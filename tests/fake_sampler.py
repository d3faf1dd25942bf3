"""A sampler without a model, a task without a meaning, and a source of rollouts on both.

What the policy says follows from the prompt and the seed alone, and each call takes its own time:
what a test finds must not depend on who finishes first.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from small_base import byte_tokenizer

from actors.lm.adapter import Adapter
from actors.lm.messages import Message, user
from actors.lm.requests import Question, Sample, TokenLogprob
from actors.lm.sampler import Published, RemotePolicy
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.source import RolloutSource
from configs.grpo import GrpoConfig
from configs.sections import SamplingConfig

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id

Step = Callable[[Problem, Sequence[Message]], Reward | Reply | None]


def said_by(seed: int, choice: int) -> str:
    """What a call with a seed answers in one of its choices, whatever it is asked."""
    return f"{random.Random(f'{seed}/{choice}').randrange(10, 100)}"


@dataclass
class FakeSampler:
    """`actors.lm.sampler.PolicySampler`: two digits, each of log-probability -1."""

    pace: int = 0  # seeds how long things take
    probe: Question | None = None
    spoil: Callable[[Sample], Sample] = lambda sample: sample
    live: dict[str, str] = field(default_factory=dict)  # model -> digest
    asked: list[tuple[str, int]] = field(default_factory=list)  # (model, seed), as they came
    heats: Counter[float] = field(default_factory=Counter)  # temperature -> samples
    retired: list[str] = field(default_factory=list)
    busy: Counter[str] = field(default_factory=Counter)
    most_busy: int = 0
    most_live: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        self._random = random.Random(self.pace)

    async def open(self) -> None:
        pass

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        await self._pause()
        model = f"{name}@{version}"
        assert model not in [*self.live, *self.retired]
        self.live[model] = policy.digest
        self.most_live = max(self.most_live, len(self.live))
        return Published(model, policy.digest)

    async def retire(self, model: str) -> None:
        assert not self.busy[model]
        await self._pause()
        del self.live[model]
        self.retired.append(model)

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        assert model in self.live
        self.asked.append((model, seed))
        self.heats[sampling.temperature] += n
        self.busy[model] += 1
        self.most_busy = max(self.most_busy, self.busy.total())
        try:
            await self._pause()
        finally:
            self.busy[model] -= 1
        return [self.spoil(self._sample(model, seed, i)) for i in range(n)]

    async def sleep(self) -> None:
        assert not self.busy.total()

    async def wake(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    def _sample(self, model: str, seed: int, i: int) -> Sample:
        text = said_by(seed, i)
        ids = [*TOKENIZER(text, add_special_tokens=False)["input_ids"], END]
        told = [TokenLogprob(-1.0, ()) for _ in ids]
        return Sample(ids, told, text, "stop", self.live[model])

    async def _pause(self) -> None:
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)


@dataclass
class FakeTask:
    """`actors.train.grpo.environment.Environment`: its problems are numbers."""

    step_of: Step = lambda problem, turns: Reward(float(turns[-1]["content"]), is_correct=None)
    problems: int = 12
    pace: int = 0
    digest: str = "fake"
    is_open: bool = False
    most_open: int = 0

    def __post_init__(self) -> None:
        self.training = [problem(f"train-{i}") for i in range(self.problems)]
        self.held_out = [problem(f"held-out-{i}") for i in range(5)]
        self._random = random.Random(self.pace)
        self._steps = 0

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        assert self.is_open
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)
        return self.step_of(problem, turns)

    async def __aenter__(self) -> "FakeTask":
        self.is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_open = False


def problem(key: str) -> Problem:
    """One that says its own key."""
    return Problem(key, [user(key)])


def policy(version: int) -> RemotePolicy:
    """A version's content."""
    return RemotePolicy(f"path-{version}", f"digest-{version}")


def rollout_config(**fields: Any) -> GrpoConfig:
    """Three steps of three problems, two rollouts of each; fields can be given."""
    defaults = {
        "task": "arithmetic",
        "steps": 3,
        "problems_per_batch": 3,
        "group_size": 2,
        "max_tokens": 4,
        "max_prompt_tokens": 60,
        "max_turns": 3,
        "eval_samples": 4,
    }
    return GrpoConfig.model_validate(defaults | fields)


@contextmanager
def open_source(
    task: FakeTask,
    sampler: FakeSampler,
    config: GrpoConfig,
    folder: Path | str,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[RolloutSource]:
    """A source of rollouts, closed at the end of the block."""
    files = RolloutFiles(str(folder))
    source = RolloutSource(task, sampler, TOKENIZER, config, name="run", files=files, tick=tick)
    try:
        source.open()
        yield source
    finally:
        source.close()
