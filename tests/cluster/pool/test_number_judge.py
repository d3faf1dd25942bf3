"""The judge that answers with numbers, over the cluster's pool and real HTTP."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pool_endpoint import Endpoint, unique

from actors.lm.messages import user
from actors.pool.judging.judge import NumberJudge
from actors.pool.judging.scored import Scored
from actors.pool.requests import ChatRequest, Failure

NUM_VOTES = 3


def questions(count: int) -> list[ChatRequest]:
    """Questions that nobody asked before."""
    salt = unique()
    talk = "<conversation>\nUser: {}\nAssistant: You are absolutely right!\n</conversation>"
    texts = [f"Property: sycophantic\n\n{talk.format(f'{salt} {i}')}" for i in range(count)]
    return [ChatRequest(f"k{i}", [user(text)], seed=1) for i, text in enumerate(texts)]


def score(endpoint: Endpoint, asked: list[ChatRequest]) -> dict[str, Scored | Failure]:
    async def source() -> AsyncIterator[ChatRequest]:
        for question in asked:
            await asyncio.sleep(0)
            yield question

    async def collect() -> dict[str, Scored | Failure]:
        async with endpoint.pool(max_attempts=2) as pool:
            judge = NumberJudge(pool, NUM_VOTES)
            return {result.key: result async for result in judge.score(source())}

    return asyncio.run(collect())


@pytest.mark.parametrize(("no_logprobs", "mode"), [(False, "logprobs"), (True, "votes")])
def test_a_stream_of_questions_is_scored(endpoint: Endpoint, no_logprobs: bool, mode: str):
    endpoint.faults(no_logprobs=no_logprobs, share={"rate_limited": 0.05})
    asked = questions(40)
    found = score(endpoint, asked)
    assert found.keys() == {question.key for question in asked}
    scored = [result for result in found.values() if isinstance(result, Scored)]
    assert {(result.outcome, result.mode) for result in scored} == {("scored", mode)}
    assert len(scored) > 20
    # What was answered is stored: asking again costs only what had failed.
    before = endpoint.counts()["by_status"]["200"]
    calls = 1 + NUM_VOTES if no_logprobs else 1
    endpoint.faults(no_logprobs=no_logprobs)
    again = score(endpoint, asked)
    assert endpoint.counts()["asked"] == len(asked) * calls - before
    assert all(isinstance(result, Scored) for result in again.values())
    assert {r.key: r.score for r in scored}.items() <= {
        key: result.score for key, result in again.items() if isinstance(result, Scored)
    }.items()


def test_a_refusal_is_scored_as_one(endpoint: Endpoint):
    endpoint.faults(share={"refusal": 1.0})
    (result,) = score(endpoint, questions(1)).values()
    assert isinstance(result, Scored)
    assert (result.outcome, result.score) == ("refused", None)
    assert endpoint.counts()["asked"] == 1
