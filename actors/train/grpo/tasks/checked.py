"""Problems whose answers a checker is asked about: an environment without calls to anybody."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from actors.lm.messages import Message, user
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.tasks.checkers import Checker, find_checker
from actors.train.grpo.tasks.problem_set import ProblemSet
from configs.base import digest

_log = logging.getLogger(__name__)


class CheckedTask:
    """The last answer of a conversation is checked. Only the checker's name travels."""

    def __init__(self, problems: ProblemSet, checker: str) -> None:
        self._problems, self._checker_name = problems, checker
        self.digest = digest([problems.digest, find_checker(checker).identity])
        self._checker: Checker | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._lost_some = False

    @property
    def training(self) -> Sequence[Problem]:
        """The problems that are learned from."""
        return self._problems.training

    @property
    def held_out(self) -> Sequence[Problem]:
        """Problems that are only measured."""
        return self._problems.held_out

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        """What the user says next, or what the last answer is worth."""
        assert self._checker is not None, "the task is not open"
        if (reply := follow_up(problem, turns)) is not None:
            return reply
        try:
            # Apart, so that a slow function holds nobody up; one by one, as it may not expect more.
            value = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._checker.check, turns[-1]["content"], problem
            )
        except Exception as error:  # the user's own code: its fault is this rollout's alone
            self._tell(problem, error)
            return None
        return Reward(float(value), value if isinstance(value, bool) else None)

    async def __aenter__(self) -> "CheckedTask":
        self._checker = find_checker(self._checker_name)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checker")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._checker = self._executor = None

    def _tell(self, problem: Problem, error: Exception) -> None:
        """The first one; how many there were is in every step's row."""
        if not self._lost_some:
            _log.warning(
                "checker=%s gave no reward for an answer to %s: %s: %s",
                self._checker_name, problem.key, type(error).__name__, error,
            )  # fmt: skip
        self._lost_some = True


def follow_up(problem: Problem, turns: Sequence[Message]) -> Reply | None:
    """What the user says after the latest of `turns`; None at the end of the conversation."""
    answers = sum(turn["role"] == "assistant" for turn in turns)
    return Reply([user(problem.follow_ups[answers - 1])]) if _goes_on(problem, answers) else None


def _goes_on(problem: Problem, answers: int) -> bool:
    return 1 <= answers <= len(problem.follow_ups)
