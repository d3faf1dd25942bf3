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
from actors.pool.worker import Handed, Taken, Ticket, Worker
from configs.errors import JobFailed

# No CPU of its own: a worker mostly waits, and must find a place where training takes them all.
_RemoteWorker = ray.remote(num_cpus=0, scheduling_strategy="SPREAD")(Worker)
_BUSY = 0.8  # a loop that computes this share of its time is what holds the calls up
_MOST_PUSHED = 64  # the first calls are not to wait until hundreds are unpacked
_MOST_DEATHS = 4  # in a row, with nothing answered in between
_CLOSE_S = 10.0


class Member:
    """A worker as the driver knows it."""

    def __init__(self, name: str, handle: Any) -> None:
        self.name, self.handle = name, handle
        self.held: dict[tuple[int, int], Ticket] = {}  # with the worker, or about to be
        self.unsent: list[Ticket] = []
        self.some_unsent = asyncio.Event()
        self.counts, self.busy = Counts(), 0.0


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
        self._counts_of_the_lost: list[Counts] = []
        self._deaths = self._started = 0
        self._tasks: set[asyncio.Task[None]] = set()
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
        task = asyncio.create_task(self._serve(f"{self._setup.books.session}-{self._started}"))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def send(self, ticket: Ticket) -> None:
        """Give a ticket to the worker that holds the fewest."""
        self._keep_limiter(ticket.request.model or self._setup.provider.default_model)
        if not self._members:
            self._homeless.append(ticket)
            return
        member = min(self._members, key=lambda m: len(m.held))
        member.held[ticket.stream, ticket.number] = ticket
        member.unsent.append(ticket)
        member.some_unsent.set()

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
            member.held = {at: t for at, t in member.held.items() if t.stream != stream}

    async def close(self) -> None:
        """Let the workers leave the books in order, and end them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tell_all("close")
        for member in self._members:
            member.counts.in_flight = 0
            ray.kill(member.handle)

    async def _serve(self, name: str) -> None:
        """One worker's life."""
        member = Member(name, _RemoteWorker.remote(self._setup, name))
        try:
            await member.handle.open.remote()
            self._members.append(member)
            tickets, self._homeless = self._homeless, []
            for ticket in tickets:
                self.send(ticket)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._feed(member))
                both.create_task(self._collect(member))
        except* RayActorError as died:
            await self._replace(member, died.exceptions[0])

    async def _feed(self, member: Member) -> None:
        while True:
            await member.some_unsent.wait()
            member.some_unsent.clear()
            while tickets := member.unsent[:_MOST_PUSHED]:
                del member.unsent[:_MOST_PUSHED]
                await member.handle.push.remote(tickets)

    async def _collect(self, member: Member) -> None:
        while True:
            taken: Taken = await member.handle.take.remote()
            member.counts, member.busy = taken.counts, taken.busy
            for handed in taken.handed:
                self._deaths = 0
                member.held.pop((handed.stream, handed.number), None)
                self._hand(handed)
            if all(m.busy > _BUSY for m in self._members):
                self._grow()

    def _grow(self) -> None:
        if len(self._tasks) < self._setup.config.max_workers:
            self.start()

    async def _replace(self, member: Member, died: BaseException) -> None:
        if member in self._members:
            self._members.remove(member)
        member.counts.in_flight = 0
        self._counts_of_the_lost.append(member.counts)
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS:
            raise JobFailed(
                f"{self._deaths} workers in a row died before they had answered a call ({died}). "
                "What was answered is stored; `ray logs` on their node says why they died."
            )
        await self._books.bury(member.name)
        if not self._members:
            self.start()
        for ticket in member.held.values():
            self.send(ticket)

    def _keep_limiter(self, model: str | None) -> None:
        """Have the limiter of a model live as long as this driver does, not as a worker does."""
        if model is not None and model not in self._limiters:
            provider = self._setup.provider
            name = limiter_name(provider.base_url, provider.account, model)
            self._limiters[model] = limiter_actor(name)

    def _withdraw(self, stream: int) -> list[Ticket]:
        """Take back what no worker has yet."""
        withdrawn = [t for t in self._homeless if t.stream == stream]
        self._homeless = [t for t in self._homeless if t.stream != stream]
        for member in self._members:
            mine = [t for t in member.unsent if t.stream == stream]
            member.unsent = [t for t in member.unsent if t.stream != stream]
            for ticket in mine:
                del member.held[ticket.stream, ticket.number]
            withdrawn += mine
        return withdrawn

    async def _tell_all(self, method: str, *arguments: int) -> dict[Member, Any]:
        """Call a method of every worker; what those say that are alive and answer in time."""
        said: dict[Member, Any] = {}

        async def tell(member: Member) -> None:
            with suppress(RayActorError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    said[member] = await getattr(member.handle, method).remote(*arguments)

        await asyncio.gather(*map(tell, self._members))
        return said

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(_innermost(task.exception()))


def _innermost(error: BaseException | None) -> BaseException:
    """The first single error in nested groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None
    return error
