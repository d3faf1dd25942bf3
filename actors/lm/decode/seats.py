"""Who runs and who waits.

Rows wait in the order they came. One is admitted when there is a seat and a cell for it, unless
another row is just computing the next block of its prompt: then it waits for that. When a growing
row finds no room, the row that was admitted last gives its seat up; it waits again, ahead of all
others, and goes on from its prompt and what was sampled. The oldest row always goes on.
"""

from collections import deque
from dataclasses import dataclass

from actors.lm.decode.cache import Cache, Seat
from actors.lm.decode.plan import share_tokens
from actors.lm.decode.prefixes import Block
from actors.lm.sampling.row import Row


@dataclass
class _Waiting:
    row: Row
    root: int
    awaited: Block | None = None  # another row computes it


@dataclass(frozen=True, eq=False)
class Running:
    """A row and its place in the cache."""

    row: Row
    seat: Seat

    @property
    def missing(self) -> int:
        """Tokens of the row that the model has not seen."""
        return len(self.row.request.prompt_ids) + len(self.row.token_ids) - self.seat.cached


class Seats:
    """The waiting line and the rows that run."""

    def __init__(self, cache: Cache, max_rows: int) -> None:
        self._cache, self._max_rows = cache, max_rows
        self.waiting: deque[_Waiting] = deque()
        self.running: list[Running] = []  # in the order of their admission
        self._left: list[Row] = []  # done, and nobody was told yet
        self.reused_tokens = 0  # of prompts, found in the cache instead of computed
        self._entering: Row | None = None  # in neither of the two: it is just being seated

    def add(self, row: Row, root: int) -> None:
        """Put a row at the end of the line; `root` is its adapter's in the cache."""
        self.waiting.append(_Waiting(row, root))

    def admit(self) -> None:
        """Seat whom there is room for; rows that were given up while they waited leave."""
        held = []
        try:
            while self.waiting and len(self.running) < self._max_rows:
                waiting = self.waiting.popleft()
                if waiting.row.done:
                    self._left.append(waiting.row)
                elif self._must_wait(waiting):
                    held.append(waiting)
                elif not self._seat(waiting):
                    held.append(waiting)
                    break
        finally:  # the memory for a seat may be more than there is
            self.waiting.extendleft(reversed(held))

    def share(self, step_tokens: int) -> list[tuple[Running, int]]:
        """Who brings how many tokens to the next step; there is room for all of them."""
        while True:
            shares = share_tokens([run.missing for run in self.running], step_tokens)
            work = [pair for pair in zip(self.running, shares, strict=True) if pair[1]]
            if all(self._cache.grow(run.seat, run.seat.cached + tokens) for run, tokens in work):
                return work
            youngest = self.running.pop()
            self.waiting.appendleft(_Waiting(youngest.row, youngest.seat.root))
            self._cache.leave(youngest.seat, youngest.row.sequence)

    def dismiss_done(self) -> None:
        """Take back the seats of rows that are done."""
        # Asked once each: another thread may give a row up at any time.
        done = {run: None for run in self.running if run.row.done}
        for run in done:
            # A row that nobody wants may outlive its adapter: nothing that it computed is kept.
            self._cache.leave(run.seat, () if run.row.abandoned else run.row.sequence)
        self.running = [run for run in self.running if run not in done]
        self._left += [run.row for run in done]

    def take_left(self) -> list[Row]:
        """Rows that left since they were last asked for."""
        left, self._left = self._left, []
        return left

    def drop_running(self) -> list[Row]:
        """Take back all seats and empty the cache, after a failure that may have harmed it.

        Returns who sat there, and who had left.
        """
        rows = [*self.take_left(), *(run.row for run in self.running)]
        if self._entering is not None:
            rows.append(self._entering)
        self.running, self._entering = [], None
        self._cache.clear()
        return rows

    def _must_wait(self, waiting: _Waiting) -> bool:
        if not _reuses(waiting.row):
            return False
        if waiting.awaited is None or not waiting.awaited.is_awaited:
            waiting.awaited = self._cache.awaited(waiting.root, waiting.row.sequence)
        return waiting.awaited is not None

    def _seat(self, waiting: _Waiting) -> bool:
        row, reuse, alone = waiting.row, _reuses(waiting.row), not self.running
        self._entering = row
        seat = self._cache.seat(waiting.root, row.sequence, reuse=reuse, alone=alone)
        self._entering = None
        if seat is None:
            return False
        self.running.append(Running(row, seat))
        self.reused_tokens += min(seat.cached, len(row.request.prompt_ids))
        return True


def _reuses(row: Row) -> bool:
    # The logits of a prompt cannot be had without computing it.
    return row.request.prompt_logprobs is None
