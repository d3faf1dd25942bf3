"""The thread that the model lives in: steps, scoring passes and commands, one after another.

Nothing else touches the model, its slots or its cache. Idle it waits without using a core. What
rows gained reaches their event loop in one call a step.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch

from actors.lm.decode.stepper import Stepper
from actors.lm.engine import EngineStats
from actors.lm.requests import Piece, Sample
from actors.lm.sampling.row import Row

_STUCK_S = 300.0
_CLOSED = "the engine is closed"

T = TypeVar("T")


@dataclass(eq=False)
class Ticket:
    """A row, and who waits for it."""

    row: Row
    answer: "asyncio.Future[Sample]"
    on_piece: Callable[[Piece], None] | None


class _Update(NamedTuple):
    ticket: Ticket
    piece: Piece | None
    outcome: Sample | Exception | None  # None: it goes on


class ModelThread:
    """Runs a stepper, and whatever else needs the model."""

    def __init__(self, stepper: Stepper, threads: int) -> None:
        self._stepper, self._threads = stepper, threads
        self._wake = threading.Condition()
        self._inbox: list[Callable[[], None]] = []
        self._scorings: deque[tuple[Generator[None, None, Any], Future[Any]]] = deque()
        self._tickets: dict[Row, Ticket] = {}
        self._held: list[Callable[[], None]] | None = None  # what comes while the thread rests
        self._leaving: tuple[Callable[[], None], Future[None]] | None = None  # as soon as it can
        self._closed = False
        self._busy_since: float | None = None
        self.stats: EngineStats = stepper.stats()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Queue rows; their answers are set in their event loop."""

        def add() -> None:
            for ticket in tickets:
                self._tickets[ticket.row] = ticket
                self._stepper.add(ticket.row)

        self._put(add)

    def call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run something between two steps."""
        future: Future[T] = Future()
        self._put(lambda: _settle(future, work))
        return asyncio.wrap_future(future)

    def score(self, passes: Generator[None, None, T]) -> "asyncio.Future[T]":
        """Run a generator to its end, in turn with steps: what it returns."""
        future: Future[T] = Future()
        self._put(lambda: self._scorings.append((passes, future)))
        return asyncio.wrap_future(future)

    def rest(self, leave: Callable[[], None]) -> "asyncio.Future[None]":
        """Finish what is begun, run `leave`, and hold back what comes until `go_on`."""
        future: Future[None] = Future()
        with self._wake:
            self._held, self._leaving = [], (leave, future)
            self._wake.notify()
        return asyncio.wrap_future(future)

    def go_on(self, come_back: Callable[[], None]) -> "asyncio.Future[None]":
        """Run `come_back`, and then what was held back."""
        future: Future[None] = Future()
        with self._wake:
            self._inbox += [lambda: _settle(future, come_back), *(self._held or ())]
            self._held = None
            self._wake.notify()
        return asyncio.wrap_future(future)

    def check_alive(self) -> None:
        """RuntimeError when the thread has ended or does not come back from its work."""
        if not self._thread.is_alive():
            raise RuntimeError("the model's thread has ended")
        since = self._busy_since
        if since is not None and (busy_s := time.monotonic() - since) > _STUCK_S:
            raise RuntimeError(f"the model has been at one step for {busy_s:.0f} s")

    def close(self) -> None:
        """End the thread; who still waits gets a RuntimeError."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _put(self, work: Callable[[], None]) -> None:
        with self._wake:
            if self._closed:
                raise RuntimeError(_CLOSED)
            (self._inbox if self._held is None else self._held).append(work)
            self._wake.notify()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # OpenMP's count belongs to the thread that sets it
        try:
            while (inbox := self._take_inbox()) is not None:
                for work in [*inbox, self._step, self._score_once, self._leave_when_done]:
                    self._busy_since = time.monotonic()
                    work()
        finally:
            with self._wake:
                self._closed, inbox = True, [*self._inbox, *(self._held or ())]
            for work in inbox:  # so that those who came last are told as well
                work()
            if self._leaving is not None:
                _fail(self._leaving[1], RuntimeError(_CLOSED))
            for _, future in self._scorings:
                _fail(future, RuntimeError(_CLOSED))
            self._deliver([_Update(t, None, RuntimeError(_CLOSED)) for t in self._tickets.values()])

    def _take_inbox(self) -> list[Callable[[], None]] | None:
        """What was asked since the last time; waits when there is nothing to do; None: closed."""
        with self._wake:
            self._busy_since = None
            while not (self._closed or self._inbox or self._leaving or self._has_rows()):
                self._wake.wait()
            if self._closed:
                return None
            inbox, self._inbox = self._inbox, []
            return inbox

    def _has_rows(self) -> bool:
        return bool(self._scorings or self._stepper.has_work)

    def _leave_when_done(self) -> None:
        if self._leaving is not None and not (self._inbox or self._has_rows()):
            (leave, future), self._leaving = self._leaving, None
            _settle(future, leave)

    def _step(self) -> None:
        if not self._stepper.has_work:
            return
        try:
            changed = self._stepper.step()
        except Exception as error:  # it belongs to those who wait for this step, not to the loop
            failed = self._open_tickets(self._stepper.drop_running())
            updates = [_Update(ticket, None, error) for ticket in failed]
        else:
            updates = [_update(ticket) for ticket in self._open_tickets(changed)]
        self.stats = self._stepper.stats()  # who is answered finds it true
        for ticket, _, outcome in updates:
            if outcome is not None:
                del self._tickets[ticket.row]
        self._deliver(updates)

    def _open_tickets(self, rows: Sequence[Row]) -> list[Ticket]:
        # A row that is given up in the middle of a step is told of twice.
        return [self._tickets[row] for row in rows if row in self._tickets]

    def _score_once(self) -> None:
        if not self._scorings:
            return
        passes, future = self._scorings.popleft()
        if future.cancelled():
            passes.close()
            return
        try:
            next(passes)
        except StopIteration as end:
            scores = end.value
            _settle(future, lambda: scores)
        except Exception as error:
            _fail(future, error)
        else:
            self._scorings.append((passes, future))

    def _deliver(self, updates: Sequence[_Update]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Update]] = {}
        for update in updates:
            if update.piece is not None or update.outcome is not None:
                by_loop.setdefault(update.ticket.answer.get_loop(), []).append(update)
        for loop, its in by_loop.items():
            with suppress(RuntimeError):  # a loop that is closed, at any moment, waits for nothing
                loop.call_soon_threadsafe(_hand_over, its)


def _update(ticket: Ticket) -> _Update:
    row = ticket.row
    piece = row.take_piece() if ticket.on_piece is not None and not row.abandoned else None
    if not row.done:
        return _Update(ticket, piece, None)
    if row.abandoned:
        return _Update(ticket, None, RuntimeError("the caller went away"))
    try:
        return _Update(ticket, piece, row.result())
    except Exception as error:
        return _Update(ticket, piece, error)


def _hand_over(updates: Sequence[_Update]) -> None:
    """In the event loop: tell those who still wait."""
    for ticket, piece, outcome in updates:
        if ticket.answer.done():
            continue
        try:
            if piece is not None and ticket.on_piece is not None:
                ticket.on_piece(piece)
        except Exception as error:  # the caller's own
            outcome, ticket.row.abandoned = error, True
        if isinstance(outcome, Sample):
            ticket.answer.set_result(outcome)
        elif outcome is not None:
            ticket.answer.set_exception(outcome)


def _settle(future: "Future[T]", work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)


def _fail(future: "Future[Any]", error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
