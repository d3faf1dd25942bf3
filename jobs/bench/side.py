"""A side of a bench as its parent sees it: a process of its own that measures what it is told.

Both speak JSON, a line for a line: what to load on the command line, then work in and what came of
it out. What a side's libraries print besides is passed over.
"""

import os
import subprocess
import sys
from typing import TypeVar

from configs.base import Config

READY = "ready"

Answer = TypeVar("Answer", bound=Config)


class Side:
    """A process that has loaded what it was told and is given work."""

    def __init__(self, module: str, start: Config, core: int | None) -> None:
        """Run a module; it keeps to one `core` where one is given, and to one thread always."""
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, start.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **one_thread()},
            text=True,
            start_new_session=True,  # ctrl-C is the bench's to handle
            preexec_fn=None if core is None else lambda: hold_to(core),
        )
        self._line(READY)

    def answer(self, work: Config, kind: type[Answer]) -> Answer:
        """What it answers to some work."""
        assert self._process.stdin is not None
        self._process.stdin.write(work.model_dump_json() + "\n")
        self._process.stdin.flush()
        return kind.model_validate_json(self._line())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _line(self, expected: str | None = None) -> str:
        """The next line of JSON (the next `expected` one); what it says besides is passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.rstrip() == expected or (expected is None and line.startswith("{")):
                return line
        raise RuntimeError(f"{self._module} ended (exit {self._process.wait()}): see above")


def one_thread() -> dict[str, str]:
    """The environment that keeps a process's arithmetic to one thread."""
    return {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def hold_to(core: int) -> None:
    """Let the calling process and all that it starts run on one core: engines count the cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
