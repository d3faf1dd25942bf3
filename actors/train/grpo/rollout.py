"""What was sampled: turns, rollouts, groups, batches; and the datums that a rollout becomes.

Suffixes carry shapes: `_P` the problems of a batch, `_G` the rollouts of a group, `_T` the tokens
of a sequence, `_D` the datums of a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.lm.messages import Message, assistant
from actors.train.datum import Datum
from actors.train.grpo.environment import Problem, Reward


@dataclass(frozen=True)
class Turn:
    """One answer of the policy, and all that it was given to read."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]  # [T], the end-of-turn token included when it was sampled
    logprobs: Sequence[float]  # [T], the sampler's own
    text: str
    version: int  # of the policy that said it
    is_cut: bool  # for want of tokens
    heard: Sequence[Message] = ()  # what was said back to the turn before it


@dataclass(frozen=True)
class Rollout:
    """A conversation that came to its end."""

    turns: Sequence[Turn]
    reward: Reward
    seed: int  # of the call that sampled its first turn
    choice: int = 0  # its place among that call's answers

    @property
    def messages(self) -> list[Message]:
        """What came after the problem's own messages."""
        return [m for turn in self.turns for m in (*turn.heard, assistant(turn.text))]

    @property
    def is_cut(self) -> bool:
        """Whether its last turn ended for want of tokens."""
        return self.turns[-1].is_cut

    @property
    def num_tokens(self) -> int:
        """Tokens that the policy said."""
        return sum(len(turn.token_ids) for turn in self.turns)


@dataclass(frozen=True)
class Group:
    """The rollouts of one problem that have a reward."""

    problem: Problem
    rollouts_G: Sequence[Rollout]
    lost: int = 0  # rollouts whose reward could not be had

    @property
    def rewards_G(self) -> NDArray[np.float64]:
        """[G]."""
        return np.array([rollout.reward.value for rollout in self.rollouts_G])


@dataclass(frozen=True)
class Batch:
    """What one step learns from."""

    groups_P: Sequence[Group]
    replaced: int = 0  # groups without signal in whose place others were sampled
    rollout_s: float = 0.0  # from the first request to the last reward
    position: int = 0  # of the data's order, after it


def datums_of(rollout: Rollout) -> Iterator[Datum]:
    """The sequences of a rollout: one, where each turn's prompt goes on from the turn before it.

    Of the arrays `logprobs` holds the sampler's, 0 on what the policy did not say, and
    `advantages` 1 on what it said and 0 elsewhere: whoever teaches multiplies it.
    """
    token_ids: list[int] = []
    said: list[bool] = []
    logprobs: list[float] = []
    for turn in rollout.turns:
        prompt = list(turn.prompt_ids)
        if prompt[: len(token_ids)] != token_ids:
            yield _datum(token_ids, said, logprobs)
            token_ids, said, logprobs = [], [], []
        heard = len(prompt) - len(token_ids)
        token_ids += [*prompt[len(token_ids) :], *turn.token_ids]
        said += [False] * heard + [True] * len(turn.token_ids)
        logprobs += [0.0] * heard + list(turn.logprobs)
    yield _datum(token_ids, said, logprobs)


def _datum(token_ids: list[int], said: list[bool], logprobs: list[float]) -> Datum:
    return Datum(
        token_ids=np.array(token_ids[:-1], np.int64),
        target_ids=np.array(token_ids[1:], np.int64),
        logprobs=np.array(logprobs[1:], np.float32),
        advantages=np.array(said[1:], np.float32),
    )
