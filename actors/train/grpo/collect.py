"""One group of rollouts: a problem, n answers to it, what is said back, what they are worth."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.chat import prompt_ids
from actors.lm.messages import Message, assistant
from actors.lm.requests import Sample
from actors.lm.sampler import PolicySampler
from actors.train.grpo.environment import Environment, Problem, Reward
from actors.train.grpo.order import seed_of
from actors.train.grpo.rollout import Group, Rollout, Turn
from actors.train.grpo.versions import Version, Versions
from configs.errors import JobFailed, UserError
from configs.grpo import GrpoConfig
from configs.sections import SamplingConfig

# What a conversation is worth that the task did not end within its turns and tokens.
UNFINISHED = Reward(0.0, is_correct=False, details={"unfinished": 1.0})


class Collected(NamedTuple):
    """A group, and when (`time.perf_counter`) its first request was made."""

    group: Group
    began_s: float


@dataclass(frozen=True)
class Collector:
    """Collects groups. `room` bounds those whose first answers are being sampled.

    A conversation ends where the next answer might reach beyond `context_tokens` of the base.
    """

    environment: Environment
    sampler: PolicySampler
    tokenizer: PreTrainedTokenizerBase
    config: GrpoConfig
    versions: Versions
    room: asyncio.Semaphore
    context_tokens: int

    async def group(
        self, problem: Problem, n: int, sampling: SamplingConfig, seed: int
    ) -> Collected:
        """N rollouts by the version that is the newest when there is room for them.

        `seed` samples all first turns in one call; with their place it determines later ones'.
        """
        with ExitStack() as held:
            async with self.room:
                version = held.enter_context(self.versions.newest())
                began_s = time.perf_counter()
                asked = self._prompt(problem, [])
                firsts = await self._turns(version, asked, n, sampling, seed)
            async with asyncio.TaskGroup() as conversations:
                tasks = [
                    conversations.create_task(
                        self._rollout(problem, version, first, sampling, seed, place)
                    )
                    for place, first in enumerate(firsts)
                ]
        ended = [task.result() for task in tasks]
        rollouts = [rollout for rollout in ended if rollout is not None]
        return Collected(Group(problem, rollouts, lost=n - len(rollouts)), began_s)

    async def _rollout(
        self,
        problem: Problem,
        version: Version,
        first: Turn,
        sampling: SamplingConfig,
        seed: int,
        choice: int,
    ) -> Rollout | None:
        """The conversation that a first turn opens; None where its reward could not be had."""
        turns, said = [first], [assistant(first.text)]
        while True:
            outcome = await self.environment.step(problem, said, turns[-1].is_cut)
            if outcome is None:
                return None
            if isinstance(outcome, Reward):
                return Rollout(turns, outcome, seed, choice)
            said = [*said, *outcome.messages]
            asked = self._prompt(problem, said)
            most = min(self.config.max_row_tokens, self.context_tokens)
            is_full = len(asked) + sampling.max_tokens > most
            if is_full or len(turns) == self.config.max_turns:
                return Rollout(turns, UNFINISHED, seed, choice)
            turn_seed = seed_of(seed_of(seed, choice), len(turns))
            turns += await self._turns(version, asked, 1, sampling, turn_seed, outcome.messages)
            said = [*said, assistant(turns[-1].text)]

    async def _turns(
        self,
        version: Version,
        asked: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
        heard: Sequence[Message] = (),
    ) -> list[Turn]:
        model = version.published.model
        samples = await self.sampler.sample(model, asked, n, sampling, seed)
        check_samples(samples, n, version)
        return [
            Turn(
                prompt_ids=asked,
                token_ids=sample.token_ids,
                logprobs=[told.logprob for told in sample.logprobs],
                text=sample.text,
                version=version.number,
                is_cut=sample.finish_reason == "length",
                heard=heard,
            )
            for sample in samples
        ]

    def _prompt(self, problem: Problem, said: Sequence[Message]) -> list[int]:
        try:
            return prompt_ids(self.tokenizer, [*problem.messages, *said])
        except ValueError as error:
            raise UserError(f'Problem "{problem.key}": {error}.') from None


def check_samples(samples: Sequence[Sample], n: int, version: Version) -> None:
    """JobFailed where samples are not what was asked for: nothing may be learned from them."""
    model, digest = version.published.model, version.published.digest
    if len(samples) != n:
        raise JobFailed(f"{model} was asked for {n} answers and gave {len(samples)}.")
    for sample in samples:
        if sample.adapter_digest != digest:
            raise JobFailed(
                f"{model} was published as {digest} and an answer came from "
                f"{sample.adapter_digest}: rollouts would come from another model than the one "
                "that is trained."
            )
        if len(sample.logprobs) != len(sample.token_ids):
            raise JobFailed(
                f"{model} told {len(sample.logprobs)} log-probabilities of "
                f"{len(sample.token_ids)} tokens."
            )
        if not all(math.isfinite(told.logprob) for told in sample.logprobs):
            raise JobFailed(f"{model} told a log-probability that is not finite.")
