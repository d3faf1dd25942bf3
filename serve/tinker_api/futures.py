"""Requests that are answered later: the SDK asks for each by its id until it is there.

A request's id says what it is, so one that is sent again (its connection broke) finds its future
and is not computed twice. An outcome stays after it was told, for the same reason: for as long as
its session may be silent, within what memory a session may have.
"""

import asyncio
import json
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serve.tinker_api.paths import absent, session_of
from serve.tinker_api.sessions import IDLE_S

KEPT_BYTES = 2**28  # of a session's outcomes that were told
_SHELL_BYTES = 2048  # about what a future weighs beside its outcome's body
JSON, PROTOBUF = "application/json", "application/x-protobuf"

Category = Literal["user", "server"]


@dataclass(frozen=True)
class Outcome:
    """What a request came to: the body of a 200."""

    body: bytes
    media_type: str = JSON


class Failed(Exception):
    """A request that cannot be fulfilled; `category` says whose fault that is."""

    def __init__(self, message: str, category: Category = "user") -> None:
        super().__init__(message)
        self.category: Category = category

    def __reduce__(self) -> tuple[type["Failed"], tuple[str, Category]]:
        return type(self), (str(self), self.category)

    @property
    def outcome(self) -> Outcome:
        """As the SDK reads it, which raises RequestFailedError."""
        return answered({"error": str(self), "category": self.category})


def answered(result: Mapping[str, Any]) -> Outcome:
    """A result in JSON."""
    return Outcome(json.dumps(result).encode())


Work = Coroutine[Any, Any, Outcome]


@dataclass
class _Future:
    work: "asyncio.Task[None]"
    is_there: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: Outcome | None = None
    told_s: float | None = None  # for the last time

    @property
    def bytes(self) -> int:
        """About what it takes of the memory."""
        return _SHELL_BYTES + (len(self.outcome.body) if self.outcome else 0)


class Futures:
    """All of them, by their ids. Its methods belong to one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._futures: dict[str, _Future] = {}

    def __contains__(self, request: str) -> bool:
        return request in self._futures

    def begin(self, request: str, work: Work) -> None:
        """Work on a request; what it returns, or how it fails, is the outcome."""
        self._futures[request] = _Future(asyncio.create_task(self._run(request, work)))

    async def wait(self, request: str, patience_s: float) -> Outcome | None:
        """The outcome; None when it is not there after so long. 404 for a request of nobody."""
        future = self._futures.get(request)
        if future is None:
            raise absent(f'there is no request "{request[:300]}", or its outcome was told long ago')
        try:
            async with asyncio.timeout(patience_s):
                await future.is_there.wait()
        except TimeoutError:
            return None
        future.told_s = self._clock()
        return future.outcome

    def cancel(self, request: str) -> None:
        """Stop the work on a request, if there still is any."""
        if request in self._futures:
            self._futures[request].work.cancel()

    def forget_told(self) -> None:
        """Drop what was told long ago, and of each session what was told before KEPT_BYTES."""
        oldest_s = self._clock() - IDLE_S
        kept_bytes = Counter[str]()
        told = [(f.told_s, request) for request, f in self._futures.items() if f.told_s is not None]
        for told_s, request in sorted(told, reverse=True):
            session = session_of(request)
            kept_bytes[session] += self._futures[request].bytes
            if told_s < oldest_s or kept_bytes[session] > KEPT_BYTES:
                del self._futures[request]

    def forget_session(self, session: str) -> None:
        """Drop, and stop, all requests of a session."""
        for request, future in list(self._futures.items()):
            if session_of(request) == session:
                future.work.cancel()
                del self._futures[request]

    async def _run(self, request: str, work: Work) -> None:
        try:
            outcome = await work
        except Failed as failure:
            outcome = failure.outcome
        except asyncio.CancelledError:
            outcome = Failed("the request was cancelled").outcome
        except Exception as error:
            traceback.print_exc()  # for the server's log: a fault of ours
            text = f"the server failed on this request ({type(error).__name__}); its log says why"
            outcome = Failed(text, "server").outcome
        future = self._futures.get(request)
        if future is not None:
            future.outcome = outcome
            future.is_there.set()
