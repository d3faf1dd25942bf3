"""How a stream ends when no further call can work: paid answers are handed over first."""

import asyncio
from typing import Any

import pytest

from actors.lm.messages import user
from actors.pool.calls.answers import Answer
from actors.pool.calls.call import Caller
from actors.pool.calls.retry import RetryPolicy, Trouble
from actors.pool.errors import ProviderRefused
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest
from actors.pool.stream import Stream

PROVIDER = Provider("offline", "http://x/v1", "none", "rules", "note")
NO_CREDIT = Trouble("fatal", "rejected", "no credit", status=402)
BUSY = Trouble("retry", "server", "HTTP 503: busy", retry_after_s=60.0)


def test_answers_on_the_wire_are_handed_over_and_nothing_new_is_sent():
    asked: list[str] = []

    async def main() -> list[str]:
        broke = asyncio.Event()

        async def ask(payload: dict[str, Any]) -> Answer | Trouble:
            word = payload["messages"][0]["content"]
            asked.append(word)
            if word == "refused":
                while len(asked) < 4:
                    await asyncio.sleep(0)
                broke.set()
                return NO_CREDIT
            if word == "answered late":
                await broke.wait()
                await asyncio.sleep(0.01)
                return Answer("paid", False, "stop", 1, 1, 0.1, "m")
            if word == "busy late":
                await broke.wait()
                await asyncio.sleep(0.01)
            return BUSY

        words = ["busy", "busy late", "answered late", "refused", "never sent", "nor this"]
        requests = [ChatRequest(word, [user(word)]) for word in words]
        caller = Caller(PROVIDER, 3, RetryPolicy(base_s=60, cap_s=60))
        stream = Stream(requests, caller, ask, asyncio.Semaphore(9), num_workers=4)
        outcome = await stream.next()
        assert outcome is not None
        with pytest.raises(ProviderRefused):
            await stream.next()
        await stream.close()
        return [outcome.key]

    assert asyncio.run(main()) == ["answered late"]
    assert sorted(asked) == ["answered late", "busy", "busy late", "refused"]
