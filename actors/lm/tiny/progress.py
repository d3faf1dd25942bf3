"""Show a build's progress: a bar on a terminal, a line every few seconds where there is none."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_LINE_EVERY_S = 5.0


@contextmanager
def steps_shown(name: str, steps: int) -> Iterator[Callable[[float], None]]:
    """Say what is built, then take each step's loss."""
    print(f"Building {name}, the embedded model, once for this user.", file=sys.stderr)
    if sys.stderr.isatty():
        with tqdm(total=steps, desc=name, unit="step", leave=False) as bar:

            def show(loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.2f}", refresh=False)
                bar.update()

            yield show
    else:
        yield _lines(name, steps)


def _lines(name: str, steps: int) -> Callable[[float], None]:
    done, last_s = 0, time.monotonic()

    def show(loss: float) -> None:
        nonlocal done, last_s
        done += 1
        if done == steps or time.monotonic() - last_s >= _LINE_EVERY_S:
            last_s = time.monotonic()
            print(f"{name}: step {done}/{steps}, loss {loss:.2f}", file=sys.stderr, flush=True)

    return show
