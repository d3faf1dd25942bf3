"""An event loop in a thread of its own, asked by a thread that blocks."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from threading import Thread
from typing import Any, TypeVar

_TICK_S = 1.0
_STOPPING_S = 5.0

T = TypeVar("T")


class LoopThread:
    """Starts at once, and never keeps its process alive."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], tick: Callable[[], None] = lambda: None) -> T:
        """What some work comes to. `tick` is called every second until it does."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not wait([future], timeout=_TICK_S).done:
            tick()
        return future.result()

    def stop(self) -> None:
        """End the loop; one that some call blocks is left behind."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOPPING_S)
        if not self._thread.is_alive():
            self._loop.close()
