"""Between an owner and the books: entries in batches, verdicts back, whatever dies in between.

While one batch is on its way, and for a moment after it, the next one gathers. A second message
waits at the books for what they cannot say at once, so that who waits holds nobody up. An actor
that died is made again; what was on its way to it, or waited there, is repeated.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ray.exceptions import RayActorError, RayTaskError

from actors.pool.books.actor import books_actor
from actors.pool.books.at import BooksAt
from actors.pool.books.entries import Again, Close, Entry, Member, Open, Said, Verdict
from configs.errors import UserError

_MAX_BATCH = 1000
_PACE_S = 0.02  # between batches; one that comes after a silence leaves at once
_RETRY_S = 0.1
_GIVE_UP_S = 60.0  # without any sign of life from the books


class _Asked(NamedTuple):
    """A question that is on its way or waits at the books."""

    entry: Open | Again
    verdict: asyncio.Future[Verdict]


class Post:
    """The post of one owner; while `is_calling` says so, the books are told that it lives."""

    def __init__(self, at: BooksAt, member: Member, is_calling: Callable[[], bool]) -> None:
        self._at, self._member, self._is_calling = at, member, is_calling
        self._asked: dict[int, _Asked] = {}  # by ticket
        self._outgoing: deque[Entry] = deque()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._actor: Any = None
        self._error: BaseException | None = None
        self._sent_s = 0.0

    def send(self, entry: Entry) -> None:
        """Send an entry with the next batch."""
        if self._error is None:
            self._outgoing.append(entry)
            self.go_on()

    async def ask(self, entry: Open | Again) -> Any:
        """Send a question and wait for its verdict."""
        self._check()
        asked = _Asked(entry, asyncio.get_running_loop().create_future())
        self._asked[entry.ticket] = asked
        self.send(entry)
        try:
            return await asked.verdict
        except asyncio.CancelledError:
            self._asked.pop(entry.ticket, None)
            if isinstance(entry, Open):  # nobody will make this call, nor close it
                self.send(Close(entry.ticket, entry.key, None, 0, 0))
            raise

    async def flush(self) -> None:
        """Wait until everything that was sent is written."""
        while "send" in self._tasks:
            await asyncio.wait([self._tasks["send"]])
        self._check()

    async def remote(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor, or of the next one where it died."""
        failing_since_s = None
        while True:
            actor = self._actor
            try:
                if actor is None:
                    actor = self._actor = books_actor(self._at)
                return await getattr(actor, method).remote(*arguments)
            except RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from None
                raise
            except (RayActorError, ValueError):
                now_s = time.monotonic()
                failing_since_s = failing_since_s or now_s
                if now_s - failing_since_s > _GIVE_UP_S:
                    raise
            await asyncio.sleep(_RETRY_S)
            if self._actor is actor:
                self._actor = None
                self._repeat()

    async def close(self, last: Entry) -> None:
        """Send a last entry, see all written, and end."""
        if self._error is None and self._actor is not None:
            self.send(last)
            await self.flush()
            await self.remote("save")
        for task in list(self._tasks.values()):
            task.cancel()

    async def _send_all(self) -> None:
        while self._outgoing:
            # A message costs a millisecond on either side, whatever is in it.
            await asyncio.sleep(self._sent_s + _PACE_S - time.monotonic())
            self._sent_s = time.monotonic()
            size = min(len(self._outgoing), _MAX_BATCH)
            taken = [self._outgoing.popleft() for _ in range(size)]
            # Of repeated questions, some have their answer by now, or were given up.
            batch = [e for e in taken if not isinstance(e, Open | Again) or e.ticket in self._asked]
            self._hear(await self.remote("turn", self._member, batch))

    async def _listen(self) -> None:
        while self._asked or self._is_calling():
            said = await self.remote("listen", self._member)
            self._hear(said)
            if not said:
                self._repeat()

    def _hear(self, said: list[Said]) -> None:
        for ticket, verdict in said:
            asked = self._asked.pop(ticket, None)
            if asked is not None and not asked.verdict.done():
                asked.verdict.set_result(verdict)

    def _repeat(self) -> None:
        """Ask again what has no answer yet: a message may have been lost with an actor."""
        self._outgoing.extendleft(asked.entry for asked in reversed(self._asked.values()))
        self.go_on()

    def go_on(self) -> None:
        """Have at work what there is work for."""
        if self._outgoing:
            self._run("send", self._send_all)
        if self._asked or self._is_calling():
            self._run("listen", self._listen)

    def _run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have one task of a kind at work."""
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(work())
            task.add_done_callback(lambda ended: self._ended(name, ended))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.go_on()  # something may have come after it looked for the last time
            return
        self._error = error
        self._outgoing.clear()
        for asked in self._asked.values():
            if not asked.verdict.done():
                asked.verdict.set_exception(error)
        self._asked.clear()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
