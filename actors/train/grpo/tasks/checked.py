"""Problems whose answers a checker is asked about: an environment without calls to anybody."""

import logging
from collections.abc import Sequence
from types import TracebackType

from actors.lm.messages import Message, user
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.tasks.apart import Apart
from actors.train.grpo.tasks.checkers import Checker, Fault, checked, find_checker
from actors.train.grpo.tasks.problem_set import ProblemSet
from configs.base import digest

_log = logging.getLogger(__name__)


class CheckedTask:
    """The last answer of a conversation is checked. Only the checker's name travels."""

    def __init__(self, problems: ProblemSet, checker: str) -> None:
        self.training, self.held_out = problems.training, problems.held_out
        self._checker_name = checker
        self.digest = digest([problems.digest, find_checker(checker).identity])
        self._checker: Checker | None = None
        self._apart: Apart | None = None
        self._lost_some = False

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        """What the user says next, or what the last answer is worth."""
        if (reply := follow_up(problem, turns)) is not None:
            return reply
        value = await self._worth(turns[-1]["content"], problem)
        if isinstance(value, Fault):
            self._tell(problem, value)
            return None
        return Reward(float(value), value if isinstance(value, bool) else None)

    async def __aenter__(self) -> "CheckedTask":
        self._checker = find_checker(self._checker_name)
        self._apart = Apart(self._checker_name) if self._checker.may_hang else None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._apart is not None:
            self._apart.close()
        self._checker = self._apart = None

    async def _worth(self, said: str, problem: Problem) -> float | bool | Fault:
        assert self._checker is not None, "the task is not open"
        if self._apart is not None:
            return await self._apart.check(said, problem)
        return checked(self._checker, said, problem)

    def _tell(self, problem: Problem, fault: Fault) -> None:
        """The first one; how many there were is in every step's row."""
        if not self._lost_some:
            _log.warning(
                "checker=%s gave no reward for an answer to %s: %s",
                self._checker_name, problem.key, fault.text,
            )  # fmt: skip
        self._lost_some = True


def follow_up(problem: Problem, turns: Sequence[Message]) -> Reply | None:
    """What the user says after the latest of `turns`; None at the end of the conversation."""
    answers = sum(turn["role"] == "assistant" for turn in turns)
    return Reply([user(problem.follow_ups[answers - 1])]) if _goes_on(problem, answers) else None


def _goes_on(problem: Problem, answers: int) -> bool:
    return 1 <= answers <= len(problem.follow_ups)
