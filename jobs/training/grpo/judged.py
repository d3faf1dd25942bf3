"""An environment whose rewards are judged: its calls are made by the process that opens it."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType

from actors.lm.messages import Conversation, Message
from actors.pool.books.at import BooksAt
from actors.pool.client import ChatPool
from actors.pool.judging.judge import NumberJudge
from actors.pool.judging.scored import Scored
from actors.pool.judging.standing import StandingJudge
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.tasks.checked import follow_up
from actors.train.grpo.tasks.problem_set import ProblemSet
from configs.errors import UserError
from configs.grpo import GrpoConfig
from jobs.judging.transcript import transcript
from jobs.training.grpo.judge_reward import RewardRubrics, reward_of

_COHERENT = "coherent"  # what the judge of coherence looks for


@dataclass(frozen=True)
class JudgeAccess:
    """Who is asked, and the books that the calls are written to."""

    provider: Provider
    books: BooksAt


class JudgedTask:
    """Problems, and judges that stay open as long as the task does: answers come one by one."""

    def __init__(
        self,
        problems: ProblemSet,
        rubrics: RewardRubrics,
        config: GrpoConfig,
        access: JudgeAccess,
        digest: str,
    ) -> None:
        self.training, self.held_out = problems.training, problems.held_out
        self._rubrics, self._config = rubrics, config
        self._access = access
        self.digest = digest
        self._judge: StandingJudge | None = None
        self._opened: AsyncExitStack | None = None

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        """What the user says next, or what the judges make of the conversation."""
        if (reply := follow_up(problem, turns)) is not None:
            return reply
        judge, said = self._config.judge, transcript([*problem.messages, *turns])
        asked = [self._rubrics.of_property.filled(judge.property or "", said)]
        if judge.coherence_floor:
            asked.append(self._rubrics.of_coherence.filled(_COHERENT, said))
        score, *others = await asyncio.gather(*map(self._score, asked))
        if score is None or None in others:
            return None
        return reward_of(score, others[0] if others else None, judge)

    async def _score(self, messages: Conversation) -> float | None:
        """The mean over the judges; None where one of them gave no number."""
        assert self._judge is not None, "the task is not open"
        config = self._config
        found = await asyncio.gather(
            *(
                self._judge.score(ChatRequest("", messages, model=model, seed=config.seed))
                for model in config.judge.models
            )
        )
        scores = [one.score for one in found if isinstance(one, Scored) and one.score is not None]
        return sum(scores) / len(found) if len(scores) == len(found) else None

    async def __aenter__(self) -> "JudgedTask":
        config, provider = self._config, self._access.provider
        # Each process that takes the run up is a session of its own.
        books = replace(self._access.books, session=uuid.uuid4().hex)
        async with AsyncExitStack() as opening:
            pool = await opening.enter_async_context(
                ChatPool(provider, config.pool, books, on_error=config.on_error)
            )
            if books.has_budget and not provider.replay_only:
                _check_prices(config.judge.models, pool, provider)
            judge = StandingJudge(NumberJudge(pool, config.judge.votes))
            self._judge = await opening.enter_async_context(judge)
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        opened, self._opened, self._judge = self._opened, None, None
        if opened is not None:
            await opened.aclose()


def _check_prices(models: Sequence[str], pool: ChatPool, provider: Provider) -> None:
    """A budget holds only where it is known what a call may cost."""
    for model in models:
        if pool.prices.get(model) is None:
            raise UserError(
                f"A budget needs prices, and {provider.name} states none for {model}. Give "
                "pool.prompt_usd_per_million= and pool.completion_usd_per_million= (0: it is free)."
            )
