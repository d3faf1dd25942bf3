"""The bench's task, the same for both sides: say many vowels. Any model's answers differ in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from actors.lm.messages import Message, user
from actors.train.grpo.environment import Problem, Reward
from jobs.bench.grpo.work import Work

_VOWELS = frozenset("aeiou")


def share_of_vowels(answer: str) -> float:
    """What an answer is worth."""
    return sum(letter in _VOWELS for letter in answer) / max(1, len(answer))


@dataclass(frozen=True)
class Vowels:
    """The task as an `Environment`. Every step takes all its problems."""

    training: Sequence[Problem]
    held_out: Sequence[Problem] = ()
    digest: str = "vowels"

    async def step(self, problem: Problem, turns: Sequence[Message], is_cut: bool) -> Reward:
        """One answer is all."""
        return Reward(share_of_vowels(turns[-1]["content"]))

    async def __aenter__(self) -> "Vowels":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def environment(work: Work) -> Vowels:
    """The task of some work."""
    return Vowels([Problem(str(i), [user(text)]) for i, text in enumerate(work.questions)])
