"""The books as a process that makes calls sees them: ask, wait where need be, report.

A call costs no message of its own: while one batch is on its way, the next one gathers. A second
message waits at the books for what they cannot say at once, so that who waits holds nobody up.
An actor that dies is made again; what was on its way to it, or waited there, is repeated.
"""

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ray.exceptions import RayActorError, RayTaskError

from actors.pool.books.actor import books_actor
from actors.pool.books.at import BooksAt
from actors.pool.books.entries import (
    Again,
    Answering,
    Broke,
    Bury,
    Close,
    Entry,
    Member,
    Mine,
    NotRecorded,
    Open,
    Said,
    Spent,
    Stored,
    Verdict,
)
from actors.pool.books.ledger import Budgets, nano_down, nano_up
from actors.pool.provider import Provider
from configs.errors import UserError

__all__ = ["Books", "Broke", "Mine", "NotRecorded", "Spent", "Stored"]

_MAX_BATCH = 1000
_RETRY_S = 0.1
_GIVE_UP_S = 60.0  # without any sign of life from the books


class _Asked(NamedTuple):
    """A question that is on its way or waits at the books."""

    entry: Open | Again
    verdict: asyncio.Future[Verdict]


class _Call:
    """A call that this owner makes."""

    def __init__(self, ticket: int) -> None:
        self.ticket, self.attempts = ticket, 1


class Books:
    """The books at `at`, for one owner; made and used in one event loop.

    `owner` names this process uniquely; `provider` is whose answers it will bring.
    """

    def __init__(self, at: BooksAt, owner: str, provider: Provider | None = None) -> None:
        self._at = at
        self._member = Member(
            owner,
            at.run_id,
            at.session,
            Budgets(_budget(at.budget_usd), _budget(at.study_budget_usd)),
            at.replay_only,
            _answering(provider),
        )
        # Another process may have had this owner's name once.
        self._tickets = itertools.count(secrets.randbits(40) << 22)
        self._asked: dict[int, _Asked] = {}
        self._calls: dict[str, _Call] = {}  # by key
        self._outgoing: deque[Entry] = deque()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._actor: Any = None
        self._error: BaseException | None = None

    async def open(self, key: str, bound_usd: float) -> Stored | Mine | Broke | NotRecorded:
        """What is to be done about a call; after Mine, `close` has to follow.

        Waits while the same call is in flight elsewhere, or while there is no money for it but
        calls in flight may leave some.
        """
        return await self._ask(Open(next(self._tickets), key, nano_up(bound_usd)))

    async def again(
        self, key: str, bound_usd: float, so_far_usd: float | None = None
    ) -> Broke | None:
        """Money for another attempt at a call, after one that was or may have been billed.

        `so_far_usd` is what the attempts up to now cost or may have cost; None: their bounds.
        """
        call = self._calls[key]
        so_far = None if so_far_usd is None else nano_up(so_far_usd)
        entry = Again(call.ticket, key, call.attempts + 1, nano_up(bound_usd), so_far)
        verdict = await self._ask(entry)
        if isinstance(verdict, Broke):
            return verdict
        call.attempts += 1
        return None

    def close(
        self,
        key: str,
        answer: bytes | None,
        cost_usd: float,
        presumed_usd: float,
        request: bytes | None = None,
    ) -> None:
        """A call is over: what it cost, what it may have cost, its answer (JSON) if there is one.

        Without an answer the next who asks for `key` makes the call. `request` is its body (JSON).
        """
        call = self._calls.pop(key)
        costs = nano_up(cost_usd), nano_up(presumed_usd)
        self._post(Close(call.ticket, key, answer, *costs, request))

    async def bury(self, owner: str) -> None:
        """Another owner is dead: what it held counts as presumed spent, its keys are free."""
        self._post(Bury(owner))
        await self.flush()

    async def flush(self) -> None:
        """Wait until everything that was reported is written."""
        while self._outgoing or "send" in self._tasks:
            await asyncio.wait([self._tasks["send"]])
        self._check()

    async def spent(self) -> Spent:
        """Dollars, up to what was reported here."""
        await self.flush()
        return await self._remote("spent", self._at.run_id)

    async def aclose(self) -> None:
        """Write what is left, and leave; a call that is still open counts as presumed spent."""
        if self._error is None and (self._actor is not None or self._outgoing):
            self._calls.clear()
            self._post(Bury(self._member.owner))
            await self.flush()
            await self._remote("save")
        for task in list(self._tasks.values()):
            task.cancel()

    async def _ask(self, entry: Open | Again) -> Any:
        self._check()
        asked = _Asked(entry, asyncio.get_running_loop().create_future())
        self._asked[entry.ticket] = asked
        self._post(entry)
        try:
            verdict = await asked.verdict
        except asyncio.CancelledError:
            self._asked.pop(entry.ticket, None)
            if isinstance(entry, Open):  # nobody will make this call, nor close it
                self._post(Close(entry.ticket, entry.key, None, 0, 0, None))
            raise
        if isinstance(entry, Open) and isinstance(verdict, Mine):
            self._calls[entry.key] = _Call(entry.ticket)
            self._run("listen", self._listen)
        return verdict

    def _post(self, entry: Entry) -> None:
        if self._error is None:
            self._outgoing.append(entry)
            self._run("send", self._send)

    async def _send(self) -> None:
        while self._outgoing:
            size = min(len(self._outgoing), _MAX_BATCH)
            taken = [self._outgoing.popleft() for _ in range(size)]
            # Of repeated questions, some have their answer by now, or were given up.
            batch = [e for e in taken if not isinstance(e, Open | Again) or e.ticket in self._asked]
            self._hear(await self._remote("turn", self._member, batch))

    async def _listen(self) -> None:
        """Hear what was not said at once; it also tells the books that this owner lives."""
        while self._asked or self._calls:
            said = await self._remote("listen", self._member)
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
        self._go_on()

    async def _remote(self, method: str, *arguments: Any) -> Any:
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

    def _go_on(self) -> None:
        if self._outgoing:
            self._run("send", self._send)
        if self._asked or self._calls:
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
            self._go_on()  # something may have come after it looked for the last time
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


def _budget(usd: float | None) -> int | None:
    return None if usd is None else nano_down(usd)


def _answering(provider: Provider | None) -> Answering | None:
    if provider is None:
        return None
    return Answering(provider.name, provider.default_model, dict(provider.schema_options))
