"""A watch over a training process: one that makes no progress ends itself.

To Ray a process that hangs is one that works. Only its end is a failure, after which Ray starts
another.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

_LOOKS = 10  # in the time that a hang may take
_SHOWN_FRAMES = 3


class Watchdog:
    """Calls `on_hang` with a message when the thread that opened it has stood still.

    That is `timeout_s` without a tick. The time before the first tick does not count, because a
    large base may load for long.
    """

    def __init__(
        self,
        timeout_s: float,
        on_hang: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s, self._on_hang, self._clock = timeout_s, on_hang, clock
        self._watched = threading.get_ident()
        self._steps = 0
        self._ticked_s: float | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training-watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()

    def tick(self, steps: int | None = None) -> None:
        """There was progress: a micro-batch began, or so many steps are done now."""
        self._ticked_s = self._clock()
        self._steps = self._steps if steps is None else steps

    def fault(self) -> str | None:
        """What is to be told of a hang; None while there is none."""
        if self._ticked_s is None or self._clock() - self._ticked_s <= self._timeout_s:
            return None
        return (
            f"Step {self._steps + 1} made no progress for {self._timeout_s:g} s "
            f"(hang_timeout_s), so its process ended itself; it stood at {self._place()}."
        )

    def _run(self) -> None:
        while not self._closing.wait(self._timeout_s / _LOOKS):
            if message := self.fault():
                self._on_hang(message)
                return

    def _place(self) -> str:
        stack = traceback.extract_stack(sys._current_frames().get(self._watched))
        names = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in stack[-_SHOWN_FRAMES:]]
        return " > ".join(names)
