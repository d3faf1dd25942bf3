"""One worker as the driver knows it: what it was given, what it hands over, how busy it is."""

import asyncio
from collections.abc import Callable
from typing import Any

from actors.pool.counts import Counts
from actors.pool.requests import Completion
from actors.pool.worker import Handed, Taken, Ticket

_MOST_PUSHED = 64  # the first calls are not to wait until hundreds are unpacked
_SMOOTHING = 0.5  # of how busy it is: one busy moment is no reason for another worker


class Member:
    """A worker, by the handle of its actor."""

    def __init__(self, name: str, handle: Any) -> None:
        self.name, self.handle = name, handle
        self.counts, self.busy = Counts(), 0.0
        self.has_handed = self.has_answered = False
        self.held: dict[tuple[int, int], Ticket] = {}  # with the worker, or about to be
        self._unsent: list[Ticket] = []
        self._some_unsent = asyncio.Event()

    def give(self, ticket: Ticket) -> None:
        """Send a ticket with the next message."""
        self.held[ticket.stream, ticket.number] = ticket
        self._unsent.append(ticket)
        self._some_unsent.set()

    def withdraw(self, stream: int) -> list[Ticket]:
        """Take back what of a stream is not sent yet."""
        withdrawn = [t for t in self._unsent if t.stream == stream]
        self._unsent = [t for t in self._unsent if t.stream != stream]
        for ticket in withdrawn:
            del self.held[ticket.stream, ticket.number]
        return withdrawn

    def forget(self, stream: int) -> None:
        """Expect nothing more of a stream."""
        self.held = {at: ticket for at, ticket in self.held.items() if ticket.stream != stream}

    async def work(self, hand: Callable[[Handed], None], taken: Callable[[], None]) -> None:
        """Send tickets and hand over what becomes of them, until the worker dies."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._send_all())
            both.create_task(self._take_all(hand, taken))

    async def _send_all(self) -> None:
        while True:
            await self._some_unsent.wait()
            self._some_unsent.clear()
            while tickets := self._unsent[:_MOST_PUSHED]:
                del self._unsent[:_MOST_PUSHED]
                await self.handle.push.remote(tickets)

    async def _take_all(self, hand: Callable[[Handed], None], took: Callable[[], None]) -> None:
        while True:
            taken: Taken = await self.handle.take.remote()
            self.counts = taken.counts
            self.busy += _SMOOTHING * (taken.busy - self.busy)
            for handed in taken.handed:
                self.has_handed = True
                self.has_answered |= isinstance(handed.end, Completion)
                self.held.pop((handed.stream, handed.number), None)
                hand(handed)
            took()
