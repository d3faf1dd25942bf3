"""The workers of a pool as the driver sees them: started as the load grows, replaced when they die.

A ticket that was with a worker that died goes to another; what that worker had stored is found in
the books and not asked again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError

from actors.pool.books.client import Books
from actors.pool.counts import Counts, summed
from actors.pool.desk import Setup
from actors.pool.limiter.actor import limiter_actor
from actors.pool.limiter.name import limiter_name
from actors.pool.member import Member
from actors.pool.worker import Handed, Ticket, Worker
from configs.errors import JobFailed

# No CPU of its own: a worker mostly waits, and must find a place where training takes them all.
_RemoteWorker = ray.remote(num_cpus=0, scheduling_strategy="SPREAD")(Worker)
_BUSY = 0.8  # a loop that computes this share of its time is what holds the calls up
_MOST_STILLBORN = 4  # workers in a row that died before they had handed anything over
_ANSWER_S = 10.0


class Crew:
    """Spreads tickets over workers; `hand` gets what became of them, `fail` what ends them all."""

    def __init__(
        self,
        setup: Setup,
        books: Books,
        hand: Callable[[Handed], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._setup, self._books, self._hand, self._fail = setup, books, hand, fail
        self._members: list[Member] = []
        self._homeless: list[Ticket] = []  # sent while there was no worker
        self._ended: set[int] = set()  # streams that were halted or dropped
        self._counts_of_the_lost: list[Counts] = []
        self._started = self._stillborn = 0
        self._answered = False  # the provider, once
        self._lives: set[asyncio.Task[None]] = set()  # of workers, those that start among them
        self._limiters: dict[str | None, Any] = {}  # by model

    @property
    def counts(self) -> Counts:
        """Of all workers, those that died among them."""
        return summed([*self._counts_of_the_lost, *(m.counts for m in self._members)])

    @property
    def size(self) -> int:
        """Workers at work."""
        return len(self._members)

    def start(self) -> None:
        """Start one more worker."""
        self._started += 1
        name = f"{self._setup.books.session}-{self._started}"
        life = asyncio.create_task(self._live(name))
        self._lives.add(life)
        life.add_done_callback(self._lived)

    def send(self, ticket: Ticket) -> None:
        """Give a ticket to the worker that holds the fewest."""
        if ticket.stream in self._ended:
            self._hand(Handed(ticket.stream, ticket.number, None))
            return
        self._keep_limiter(ticket.request.model or self._setup.provider.default_model)
        if self._members:
            min(self._members, key=lambda member: len(member.held)).give(ticket)
        else:
            self._homeless.append(ticket)

    async def halt(self, stream: int) -> None:
        """Send nothing new for a stream; what is on the wire may end."""
        for ticket in self._withdraw(stream):
            self._hand(Handed(ticket.stream, ticket.number, None))
        await self._tell_all("halt", stream)

    async def drop(self, stream: int) -> None:
        """Cancel all of a stream."""
        self._withdraw(stream)
        for member, counts in (await self._tell_all("drop", stream)).items():
            member.counts = counts
        for member in self._members:
            member.forget(stream)

    async def flush(self) -> None:
        """See what calls have cost in the books."""
        await self._tell_all("flush")

    async def close(self) -> None:
        """Let the workers leave the books in order, and end them."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await self._tell_all("close")
        for member in self._members:
            member.counts.in_flight = 0
            ray.kill(member.handle)

    async def _live(self, name: str) -> None:
        member = Member(name, _RemoteWorker.remote(self._setup, name, self._answered))
        try:
            await member.handle.open.remote()
            self._members.append(member)
            tickets, self._homeless = self._homeless, []
            for ticket in tickets:
                self.send(ticket)
            await member.work(self._hand, self._look)
        except* RayActorError as died:
            await self._replace(member, died.exceptions[0])

    def _look(self) -> None:
        """After something was handed over: learn from it, and grow where the load asks for it."""
        self._answered = self._answered or any(m.has_answered for m in self._members)
        if any(m.has_handed for m in self._members):
            self._stillborn = 0
        is_starting = len(self._lives) > len(self._members)
        if is_starting or len(self._members) >= self._setup.config.max_workers:
            return
        if all(member.busy > _BUSY for member in self._members):
            self.start()

    async def _replace(self, member: Member, died: BaseException) -> None:
        ray.kill(member.handle)  # it may only have been out of reach: nobody is to ask beside it
        if member in self._members:
            self._members.remove(member)
        member.counts.in_flight = 0
        self._counts_of_the_lost.append(member.counts)
        self._stillborn += not member.has_handed
        if self._stillborn >= _MOST_STILLBORN:
            raise JobFailed(
                f"{self._stillborn} workers in a row died before they had answered a call "
                f"({died}). What was answered is stored; `ray logs` on their node says why they "
                "died."
            )
        await self._books.bury(member.name)
        if not self._members:
            self.start()
        for ticket in member.held.values():
            self.send(ticket)

    def _keep_limiter(self, model: str | None) -> None:
        """Have the limiter of a model live as long as this driver does, not as a worker does."""
        if model is not None and self._limiters.get(model) is None:
            provider = self._setup.provider
            name = limiter_name(provider.base_url, provider.account, model)
            self._limiters[model] = limiter_actor(name)

    def _withdraw(self, stream: int) -> list[Ticket]:
        """Take back what no worker has yet; nothing more is sent for the stream."""
        self._ended.add(stream)
        withdrawn = [ticket for ticket in self._homeless if ticket.stream == stream]
        self._homeless = [ticket for ticket in self._homeless if ticket.stream != stream]
        for member in self._members:
            withdrawn += member.withdraw(stream)
        return withdrawn

    async def _tell_all(self, method: str, *arguments: int) -> dict[Member, Any]:
        """Call a method of every worker; what those say that are alive and answer in time."""
        said: dict[Member, Any] = {}

        async def tell(member: Member) -> None:
            with suppress(RayActorError, TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    said[member] = await getattr(member.handle, method).remote(*arguments)

        await asyncio.gather(*map(tell, self._members))
        return said

    def _lived(self, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        error = None if life.cancelled() else life.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            self._fail(error)
