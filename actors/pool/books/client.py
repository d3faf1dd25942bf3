"""The books as a process that makes calls sees them: ask, make the call, report.

A call costs no message of its own: see `actors.pool.books.post`.
"""

import itertools
import secrets

from actors.pool.books.at import BooksAt
from actors.pool.books.entries import (
    Again,
    Answering,
    Broke,
    Bury,
    Close,
    Failed,
    Member,
    Mine,
    NotRecorded,
    Open,
    Spent,
    Stored,
)
from actors.pool.books.key import answer_digest
from actors.pool.books.ledger import Budgets, nano_down, nano_up
from actors.pool.books.post import Post
from actors.pool.provider import Provider

__all__ = ["Books", "Broke", "Failed", "Mine", "NotRecorded", "Spent", "Stored"]


class _Call:
    """A call that this owner makes."""

    def __init__(self, ticket: int) -> None:
        self.ticket, self.attempts = ticket, 1


class Books:
    """The books at `at`, for one owner; made and used in one event loop.

    `owner` names this process uniquely; `provider` is whose answers it will bring.
    """

    def __init__(self, at: BooksAt, owner: str, provider: Provider | None = None) -> None:
        self._run_id = at.run_id
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
        self._calls: dict[str, _Call] = {}  # by key
        self._post = Post(at, self._member, lambda: bool(self._calls))

    async def open(
        self, key: str, bound_usd: float, misfit: bytes | None = None
    ) -> Stored | Failed | Mine | Broke | NotRecorded:
        """What is to be done about a call; after Mine, `close` has to follow.

        Waits while the same call is in flight elsewhere, or while there is no money for it but
        calls in flight may leave some. `misfit` is a stored answer that is of no use: the call is
        made again, and takes its place.
        """
        ticket = next(self._tickets)
        unfit = None if misfit is None else answer_digest(misfit)
        verdict = await self._post.ask(Open(ticket, key, nano_up(bound_usd), unfit))
        if isinstance(verdict, Mine):
            self._calls[key] = _Call(ticket)
            self._post.go_on()
        return verdict

    async def again(
        self, key: str, bound_usd: float, so_far_usd: float | None = None
    ) -> Broke | None:
        """Money for another attempt at a call, after one that was or may have been billed.

        `so_far_usd` is what the attempts up to now cost or may have cost; None: their bounds.
        """
        call = self._calls[key]
        so_far = None if so_far_usd is None else nano_up(so_far_usd)
        entry = Again(call.ticket, key, call.attempts + 1, nano_up(bound_usd), so_far)
        verdict = await self._post.ask(entry)
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
        failure: bytes | None = None,
    ) -> None:
        """A call is over: what it cost, what it may have cost, its answer (JSON) if there is one.

        Without an answer the next who asks for `key` makes the call; a replay is given `failure`
        (JSON), where there is one. `request` is the body (JSON) that goes with either.
        """
        call = self._calls.pop(key)
        costs = nano_up(cost_usd), nano_up(presumed_usd)
        self._post.send(Close(call.ticket, key, answer, *costs, request, failure))

    async def bury(self, owner: str) -> None:
        """Another owner is dead: what it held counts as presumed spent, its keys are free."""
        self._post.send(Bury(owner))
        await self._post.flush()

    async def flush(self) -> None:
        """Wait until everything that was reported is written."""
        await self._post.flush()

    async def spent(self) -> Spent:
        """Dollars, up to what was reported here."""
        await self.flush()
        return await self._post.remote("spent", self._run_id)

    async def aclose(self) -> None:
        """Write what is left, and leave; a call that is still open counts as presumed spent."""
        self._calls.clear()
        await self._post.close(Bury(self._member.owner))


def _budget(usd: float | None) -> int | None:
    return None if usd is None else nano_down(usd)


def _answering(provider: Provider | None) -> Answering | None:
    if provider is None:
        return None
    return Answering(provider.name, provider.default_model, dict(provider.schema_options))
