"""A judge that is asked question by question, on a pool of this process."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import pytest

from actors.lm.messages import user
from actors.pool.judging.judge import NumberJudge
from actors.pool.judging.scored import Scored
from actors.pool.judging.standing import StandingJudge
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome, TokenLogprob
from configs.errors import UserError


class Numbers:
    """A pool that answers with the number it is asked for, the latest question first."""

    def __init__(self, together: int = 1) -> None:
        self._together = together
        self.keys: list[str] = []

    async def complete(self, requests: AsyncIterable[ChatRequest]) -> AsyncIterator[Outcome]:
        held: list[ChatRequest] = []
        async for request in requests:
            self.keys.append(request.key)
            held.append(request)
            if len(held) == self._together:
                for one in reversed(held):
                    yield _answer(one)
                held.clear()


def _answer(request: ChatRequest) -> Outcome:
    said = request.messages[-1]["content"]
    if said == "down":
        return Failure(request.key, "server", "down", 3, 0.0)
    if said == "key":
        raise UserError("the key is refused")
    logprobs = [[TokenLogprob(said, 0.0)]]
    return Completion(request.key, said, None, False, 1, 1, 0.0, 1, 0.1, "m", logprobs=logprobs)


def question(said: str) -> ChatRequest:
    return ChatRequest("asked", [user(said)])


def scores(pool: Numbers, *rounds: list[str]) -> list[list[Scored | Failure]]:
    async def collect() -> list[list[Scored | Failure]]:
        async with StandingJudge(NumberJudge(pool)) as judge:
            return [
                list(await asyncio.gather(*(judge.score(question(said)) for said in texts)))
                for texts in rounds
            ]

    return asyncio.run(collect())


def test_each_question_gets_its_own_answer_whatever_the_order():
    pool = Numbers(together=3)
    first, second = scores(pool, ["10", "20", "20"], ["30", "40", "50"])
    assert [one.score for one in first if isinstance(one, Scored)] == [10, 20, 20]
    assert [one.score for one in second if isinstance(one, Scored)] == [30, 40, 50]
    assert {one.key for one in [*first, *second]} == {"asked"}
    assert len(set(pool.keys)) == 6


def test_a_failure_is_its_own_question_s_alone():
    ((down, up),) = scores(Numbers(), ["down", "60"])
    assert isinstance(down, Failure)
    assert isinstance(up, Scored)
    assert (down.key, up.score) == ("asked", 60)


def test_what_ends_the_stream_is_told_to_all_who_ask():
    async def collect() -> None:
        async with StandingJudge(NumberJudge(Numbers())) as judge:
            for _ in range(2):
                with pytest.raises(UserError, match="the key is refused"):
                    await judge.score(question("key"))

    asyncio.run(collect())


def test_whoever_stops_waiting_holds_up_nobody():
    async def collect() -> Scored | Failure:
        async with StandingJudge(NumberJudge(Numbers(together=2))) as judge:
            gone = asyncio.create_task(judge.score(question("10")))
            await asyncio.sleep(0)
            gone.cancel()
            return await judge.score(question("20"))

    found = asyncio.run(collect())
    assert isinstance(found, Scored)
    assert found.score == 20
