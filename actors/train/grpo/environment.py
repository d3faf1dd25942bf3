"""What a policy is trained on: problems, what is said back to it, and what an answer is worth.

A bad answer is data, never an exception. A reward that could not be had (a judge's call failed)
is None: its rollout is left out and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from actors.lm.messages import Message


@dataclass(frozen=True)
class Problem:
    """One thing to be solved."""

    key: str  # names it in records
    messages: Sequence[Message]  # what the policy answers
    answer: str | None = None  # what an answer is checked against
    worked: str | None = None  # a whole answer that is right, for a supervised warm start
    follow_ups: Sequence[str] = ()  # what the user says after each answer but the last


@dataclass(frozen=True)
class Reward:
    """What a finished conversation is worth."""

    value: float
    is_correct: bool | None = None  # for pass@k; None where nothing is right or wrong
    details: dict[str, float | str] = field(default_factory=dict)  # numbers are averaged in metrics


@dataclass(frozen=True)
class Reply:
    """What is said back: the policy answers again."""

    messages: Sequence[Message]


class Environment(Protocol):
    """A task. It travels to the process that asks the sampler, and is opened there."""

    @property
    def digest(self) -> str:
        """Of everything that determines problems and rewards."""
        ...

    @property
    def training(self) -> Sequence[Problem]:
        """The problems that are learned from, in no order that matters."""
        ...

    @property
    def held_out(self) -> Sequence[Problem]:
        """Problems that are only measured; may be empty."""
        ...

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        """What follows on the policy's latest turn, the last of `turns`.

        `turns` is what came after the problem's own messages. `is_cut` says that the turn ended
        for want of tokens.
        """
        ...

    async def __aenter__(self) -> "Environment": ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
