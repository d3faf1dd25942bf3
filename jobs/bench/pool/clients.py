"""Start clients, give them the word at once, and read what they measured."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from jobs.bench.pool.child import READY
from jobs.bench.pool.load import Load, Measured

Client = Literal["ours", "peer"]


def measured(
    client: Client,
    loads: Sequence[Load],
    environment: Mapping[str, str],
    when_ready: Callable[[], None],
) -> list[Measured]:
    """What clients measured that did their loads at the same time.

    `when_ready` is called when all of them are warm and none has begun.
    """
    children = [_started(client, load, environment) for load in loads]
    try:
        for child in children:
            _line(child, READY)
        when_ready()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        return [Measured.model_validate_json(_line(child)) for child in children]
    except BaseException:
        for child in children:
            child.kill()
        raise
    finally:
        for child in children:
            _ended(child)


def _started(client: Client, load: Load, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"jobs.bench.pool.{client}", load.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**environment},
        text=True,
        start_new_session=True,  # ctrl-C is the bench's to handle
    )


def _line(child: subprocess.Popen[str], expected: str | None = None) -> str:
    """The next line of a client (the next `expected` one); what it says besides is passed over."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.rstrip() == expected or (expected is None and line.startswith("{")):
            return line
    raise RuntimeError(f"a client of the bench ended (exit {child.wait()}): see above")


def _ended(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
