"""How many rows a replica has been asked for, and whether there is room for more. Pure."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve.calls import Overloaded

_LEAST_S, _MOST_S = 1.0, 60.0


class Crowd:
    """Rows between their arrival and their answer."""

    def __init__(
        self, seats: int, max_queued: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seats, self._max_queued, self._clock = seats, max_queued, clock
        self._rows, self._last_s = 0, 0.0

    @contextmanager
    def place(self, rows: int) -> Iterator[None]:
        """Room for the rows of a call; Overloaded when too many would wait.

        A call that is larger than the queue gets in when nobody waits.
        To ask again makes sense after about as long as the last answer took.
        """
        queued = self._rows - self._seats
        if queued > 0 and queued + rows > self._max_queued:
            wait_s = min(_MOST_S, max(_LEAST_S, self._last_s))
            raise Overloaded(f"{queued} requests wait already; ask again later", wait_s)
        self._rows += rows
        started_s = self._clock()
        try:
            yield
        finally:
            self._rows -= rows
            self._last_s = self._clock() - started_s
