"""A judge that is asked question by question, over one stream that stays open."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType

from actors.pool.judging.judge import NumberJudge
from actors.pool.judging.scored import Scored
from actors.pool.requests import ChatRequest, Failure


class StandingJudge:
    """Numbers for questions that come up one by one, as what is to be judged gets finished."""

    def __init__(self, judge: NumberJudge) -> None:
        self._judge = judge
        self._numbers = itertools.count()  # questions of like content are told apart by them
        self._waiting: dict[str, asyncio.Future[Scored | Failure]] = {}
        self._questions: asyncio.Queue[ChatRequest] = asyncio.Queue()

    async def score(self, question: ChatRequest) -> Scored | Failure:
        """What came of one question; raises what ended the stream."""
        key = str(next(self._numbers))
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        self._questions.put_nowait(replace(question, key=key))
        try:
            await asyncio.wait({answer, self._asking}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self._asking.result()
                raise RuntimeError("the judge was closed while a score was awaited")
            return replace(answer.result(), key=question.key)
        finally:
            del self._waiting[key]

    async def __aenter__(self) -> "StandingJudge":
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        async with aclosing(self._judge.score(self._coming())) as results:
            async for result in results:
                answer = self._waiting.get(result.key)
                if answer is not None:  # whoever asked may have gone
                    answer.set_result(result)

    async def _coming(self) -> AsyncGenerator[ChatRequest, None]:
        while True:
            yield await self._questions.get()
