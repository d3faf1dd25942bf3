"""Checks that may never end, in a process of their own that dies with one that takes too long.

What hangs may never give Python's lock back (sympy on 9^{9^{9^{9}}}, a pattern that backtracks), so
nothing in its own process could end it but faulthandler's watchdog, which is no thread of Python.
"""

import asyncio
import faulthandler
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TextIO

from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.checkers import Fault, checked, find_checker
from configs.errors import UserError

CHECK_LIMIT_S = 10.0


class Apart:
    """A process for the checker called `name`: one answer at a time, as it may not expect more.

    It starts with the first answer, and anew after one that it did not survive.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = asyncio.Lock()
        self._process: ProcessPoolExecutor | None = None

    async def check(self, said: str, problem: Problem) -> float | bool | Fault:
        """What an answer is worth."""
        async with self._turn:
            if self._process is None:
                # Spawned: a fork would hold the sockets and locks of all that runs here.
                self._process = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin)
            call = self._process.submit(_check, self._name, said, problem, CHECK_LIMIT_S)
            try:
                return await asyncio.wrap_future(call)
            except asyncio.CancelledError:
                self.close()  # whoever comes next is not to wait for it, nor to end with it
                raise
            except BrokenProcessPool:
                self.close()
                return Fault(f"it took longer than {CHECK_LIMIT_S:g} s, or ended its process")

    def close(self) -> None:
        """End the process, after what it is at."""
        process, self._process = self._process, None
        if process is not None:
            process.shutdown(wait=False, cancel_futures=True)


# In the process:


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # is for whoever started it
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Where the parent was killed there is nobody left to end this one."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _check(name: str, said: str, problem: Problem, limit_s: float) -> float | bool | Fault:
    try:
        checker = _checker(name)
    except UserError as error:
        return Fault(str(error))
    faulthandler.dump_traceback_later(limit_s, exit=True, file=_nowhere())
    try:
        return checked(checker, said, problem)
    finally:
        faulthandler.cancel_dump_traceback_later()


_checker = cache(find_checker)


@cache
def _nowhere() -> TextIO:
    """For what the watchdog would say."""
    return open(os.devnull, "w")  # noqa: PTH123  as long as the process lives
