"""A worker without Ray: what becomes of its calls when one of them ends the stream."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.pool import worker
from actors.pool.counts import Counts
from actors.pool.line import Halt
from actors.pool.requests import ChatRequest, Outcome
from actors.pool.worker import Ticket, Worker
from configs.errors import UserError


class _Desk:
    """Calls whose first word says how they go."""

    def __init__(self, *_: object) -> None:
        self.on_wire: set[asyncio.Task[Any] | None] = set()
        self.counts = Counts()

    async def answer(self, request: ChatRequest, halt: Halt) -> Outcome:
        word = request.messages[0]["content"]
        if word == "waits for the limiter":
            await asyncio.Event().wait()
        self.on_wire.add(asyncio.current_task())
        if word == "has no credit":
            raise UserError("402: Add credit.")
        while not halt.is_set:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)  # the answer comes after the halt, and is paid for
        return cast(Outcome, SimpleNamespace(key=request.key))


@pytest.fixture
def _desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Desk", _Desk)


@pytest.mark.usefixtures("_desk")
def test_what_is_on_the_wire_is_handed_over_after_anothers_402() -> None:
    words = ["is on the wire", "waits for the limiter", "has no credit"]
    requests = [
        ChatRequest(key=word, messages=[{"role": "user", "content": word}]) for word in words
    ]

    async def main() -> dict[str, Any]:
        crew_member = Worker(cast(Any, None), "w", answered=False)
        await crew_member.open()
        await crew_member.push([Ticket(1, i, request) for i, request in enumerate(requests)])
        handed: dict[str, Any] = {}
        while len(handed) < len(words):
            taken = await crew_member.take()
            handed |= {words[one.number]: one.end for one in taken.handed}
        return handed

    handed = asyncio.run(asyncio.wait_for(main(), 10))
    assert isinstance(handed["has no credit"], UserError)
    assert handed["waits for the limiter"] is None
    assert handed["is on the wire"].key == "is on the wire"
