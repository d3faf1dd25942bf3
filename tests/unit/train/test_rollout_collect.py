"""One group: turns, what is said back, ends of conversations, rewards that are lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from engine_tests import run
from fake_sampler import (
    TOKENIZER,
    FakeSampler,
    FakeTask,
    policy,
    problem,
    rollout_config,
    said_by,
)
from small_base import byte_tokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.messages import Message, assistant, user
from actors.train.grpo.collect import UNFINISHED, Collector
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.rollout import Group, datums_of
from actors.train.grpo.versions import Version, Versions
from configs.errors import UserError

ASKED = "<|im_start|>user\nnine<|im_end|>\n<|im_start|>assistant\n"


def group(
    step: Any,
    *,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerBase = TOKENIZER,
    n: int = 4,
    context_tokens: int = 512,
    **fields: Any,
) -> Group:
    """Rollouts of one problem."""

    async def body() -> Group:
        sampler, task, config = (
            FakeSampler(),
            FakeTask(step, is_open=True),
            rollout_config(**fields),
        )
        versions = Versions(lambda model: None)
        versions.add(Version(7, await sampler.publish("run", 7, policy(7))))
        room = asyncio.Semaphore(1)
        collector = Collector(task, sampler, tokenizer, config, versions, room, context_tokens)
        return (await collector.group(problem("nine"), n, config.sampling, seed)).group

    return run(body())


def until(turns: int) -> Any:
    """A task that asks again until so many answers are there."""

    def step(problem: Problem, said: Sequence[Message]) -> Reward | Reply:
        given = sum(message["role"] == "assistant" for message in said)
        return Reward(float(said[-1]["content"])) if given == turns else Reply([user("again")])

    return step


def test_a_rollout_is_what_was_said() -> None:
    found = group(until(1), seed=31)
    assert [(r.seed, r.choice) for r in found.rollouts_G] == [(31, place) for place in range(4)]
    for rollout in found.rollouts_G:
        assert rollout.turns[0].text == said_by(rollout.seed, rollout.choice)
        (turn,) = rollout.turns
        assert TOKENIZER.decode(list(turn.prompt_ids)) == ASKED
        assert TOKENIZER.decode(list(turn.token_ids)) == f"{turn.text}<|im_end|>"
        assert turn.logprobs == [-1.0] * 3
        assert (turn.version, turn.is_cut) == (7, False)
        assert rollout.reward == Reward(float(turn.text))
    assert len({rollout.turns[0].text for rollout in found.rollouts_G}) > 1


def test_turns_that_go_on_token_by_token_are_one_datum() -> None:
    for rollout in group(until(3), max_prompt_tokens=200).rollouts_G:
        assert [m["content"] for m in rollout.messages[1::2]] == ["again", "again"]
        assert rollout.messages[::2] == [assistant(turn.text) for turn in rollout.turns]
        (datum,) = datums_of(rollout)
        assert datum.advantages is not None
        told = datum.target_ids[datum.advantages != 0]
        assert told.tolist() == [token for turn in rollout.turns for token in turn.token_ids]
        assert len(datum) == len(rollout.turns[-1].prompt_ids) + 3 - 1
        assert datum.logprobs is not None
        assert np.array_equal(datum.logprobs, -datum.advantages)


def test_later_turns_have_seeds_of_their_own() -> None:
    texts = [
        [turn.text for turn in rollout.turns]
        for rollout in group(until(3), max_prompt_tokens=200, n=8).rollouts_G
    ]
    assert all(len({answers[i] for answers in texts}) > 4 for i in range(3))
    assert sum(len(set(answers)) == 3 for answers in texts) > 4


@pytest.mark.parametrize(("room", "turns"), [(200, 2), (65, 2), (40, 1)])
def test_a_conversation_without_an_end_is_worth_nothing(room: int, turns: int) -> None:
    """The second prompt has 55 tokens: answers of 4 in 2 turns are 8 more than the longest."""
    found = group(until(9), max_turns=2, max_prompt_tokens=room)
    for rollout in found.rollouts_G:
        assert len(rollout.turns) == turns
        assert rollout.reward == UNFINISHED
    assert found.lost == 0


def test_a_conversation_ends_where_the_base_s_context_does() -> None:
    """Its second prompt has 51 tokens, an answer up to 4."""
    assert {len(r.turns) for r in group(until(2), context_tokens=55).rollouts_G} == {2}
    assert {len(r.turns) for r in group(until(2), context_tokens=54).rollouts_G} == {1}


def test_rewards_that_could_not_be_had_are_counted() -> None:
    def odd(problem: Problem, turns: Sequence[Message]) -> Reward | None:
        value = int(turns[-1]["content"])
        return Reward(float(value)) if value % 2 else None

    found = group(odd, n=16)
    for rollout in found.rollouts_G:
        assert rollout.turns[0].text == said_by(rollout.seed, rollout.choice)
    assert found.rollouts_G
    assert found.lost
    assert len(found.rollouts_G) + found.lost == 16
    assert all(reward % 2 for reward in found.rewards_G)


def test_a_seed_determines_a_group() -> None:
    assert group(until(2)) == group(until(2))
    assert group(until(2)) != group(until(2), seed=1)


def test_a_problem_that_the_template_refuses_is_named() -> None:
    refusing = byte_tokenizer("{{ raise_exception('no user speaks here') }}")
    with pytest.raises(UserError, match=r'Problem "nine": .*no user speaks here'):
        group(until(1), tokenizer=refusing)
