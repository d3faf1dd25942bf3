"""A side's process: say ready, then do one line of work after another, and say what it took."""

import sys
from collections.abc import Callable

from jobs.bench.grpo.work import Measured, Start, Work
from jobs.bench.side import READY


def started() -> Start:
    """What this process was told to load."""
    return Start.model_validate_json(sys.argv[1])


def serve(measured: Callable[[Work], Measured]) -> None:
    """Answer every line of work, until there is no more."""
    print(READY, flush=True)
    for line in sys.stdin:
        print(measured(Work.model_validate_json(line)).model_dump_json(), flush=True)
