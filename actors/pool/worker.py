"""A worker of the pool, run as a Ray actor: tickets in, what became of them out, many in a message.

A call costs no message of its own. Each ticket is a task of the worker's event loop.
"""

import asyncio
import time
import traceback
from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

from actors.pool.counts import Counts
from actors.pool.desk import Desk, Setup
from actors.pool.line import Halt
from actors.pool.requests import ChatRequest, Outcome
from configs.errors import JobFailed, UserError

# A message costs a millisecond on either side: outcomes travel together that end this close to
# each other, but no more than so many.
_GATHER_S = 0.1
_GATHERED = 128
_REPORT_S = 1.0  # counts travel at least this often


class Ticket(NamedTuple):
    """A request on its way: number `number` of the driver's stream `stream`."""

    stream: int
    number: int
    request: ChatRequest


class Handed(NamedTuple):
    """What became of a ticket: an outcome, an error that ends its stream, or None if dropped."""

    stream: int
    number: int
    end: Outcome | BaseException | None


class Taken(NamedTuple):
    """What a worker hands over at a time, its counts, and how busy its loop was (0..1)."""

    handed: list[Handed]
    counts: Counts
    busy: float


class Worker:
    """Makes calls for one driver, which calls these methods from afar."""

    def __init__(self, setup: Setup, name: str, answered: bool) -> None:
        self._setup, self._name, self._answered = setup, name, answered
        self._tasks: defaultdict[int, set[asyncio.Task[Outcome]]] = defaultdict(set)
        self._halts: defaultdict[int, Halt] = defaultdict(Halt)
        self._ready: list[Handed] = []
        self._some, self._enough = asyncio.Event(), asyncio.Event()

    async def open(self) -> None:
        """Open what needs the event loop."""
        self._desk = Desk(self._setup, self._name, self._answered)
        self._measured_s = time.monotonic(), time.thread_time()

    async def push(self, tickets: list[Ticket]) -> None:
        """Begin with these."""
        for ticket in tickets:
            answer = self._desk.answer(ticket.request, self._halts[ticket.stream])
            task = asyncio.create_task(answer)
            self._tasks[ticket.stream].add(task)
            task.add_done_callback(lambda ended, ticket=ticket: self._hand(ticket, ended))

    async def take(self) -> Taken:
        """What ended since the last time, as soon as there is something."""
        await _within(_REPORT_S, self._some)
        if self._ready:
            await _within(_GATHER_S, self._enough)
        handed, self._ready = self._ready, []
        self._some.clear()
        self._enough.clear()
        return Taken(handed, self._desk.counts, self._busy())

    async def halt(self, stream: int) -> None:
        """Send nothing new for a stream; what is on the wire is paid for and may end."""
        self._halt(stream)

    async def drop(self, stream: int) -> Counts:
        """Cancel all of a stream, wait until it is gone, and say what is left."""
        self._halts[stream].is_set = True
        tasks = list(self._tasks[stream])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.pop(stream, None)
        return self._desk.counts

    async def flush(self) -> None:
        """See in the books what calls that ended have cost."""
        await self._desk.flush()

    async def close(self) -> None:
        """Cancel what is left, and leave the books and the limiter in order."""
        for stream in list(self._tasks):
            await self.drop(stream)
        await self._desk.close()

    def _halt(self, stream: int) -> None:
        self._halts[stream].is_set = True
        for task in self._tasks[stream] - self._desk.on_wire:
            task.cancel()

    def _hand(self, ticket: Ticket, task: asyncio.Task[Outcome]) -> None:
        tasks = self._tasks[ticket.stream]
        tasks.discard(task)
        end: Outcome | BaseException | None = None
        if not task.cancelled():
            error = task.exception()
            end = task.result() if error is None else _able_to_travel(error)
        if isinstance(end, BaseException):
            self._halt(ticket.stream)
        elif not tasks:
            del self._tasks[ticket.stream], self._halts[ticket.stream]
        self._ready.append(Handed(ticket.stream, ticket.number, end))
        self._some.set()
        if len(self._ready) >= _GATHERED or not any(self._tasks.values()):
            self._enough.set()

    def _busy(self) -> float:
        then, now = self._measured_s, (time.monotonic(), time.thread_time())
        self._measured_s = now
        return (now[1] - then[1]) / max(now[0] - then[0], 1e-9)


def _able_to_travel(error: BaseException) -> BaseException:
    """Ours as they are; of others, who knows what their constructors take."""
    if isinstance(error, UserError | JobFailed):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))


async def _within(timeout_s: float, event: asyncio.Event) -> None:
    """Wait for an event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
