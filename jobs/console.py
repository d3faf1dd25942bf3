"""What a person sees: lines, tables within 100 columns, progress as a bar or as lines."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

WIDTH = 100
_SECONDS_BETWEEN_LINES = 5.0


def say(line: str) -> None:
    """One line on standard output, at once."""
    with tqdm.external_write_mode(file=sys.stdout):
        print(line, flush=True)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    numbers: bool = False,
) -> None:
    """A table within the width; with `numbers`, all columns but the first are right-aligned."""
    view = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, column in enumerate(columns):
        justify = "right" if numbers and i else "left"
        view.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        view.add_row(*row)
    Console(width=WIDTH, file=sys.stdout, highlight=False, markup=False).print(view)


class Progress:
    """Counts things done: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done, self._note = name, total, 0, ""
        self._started = self._printed = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=name, ncols=WIDTH, file=sys.stderr)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more; `note` stands beside the count until it changes."""
        self._done += steps
        self._note = note or self._note
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(steps)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._print()

    def close(self) -> None:
        """End the bar, or print the last line."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        elapsed_s = self._printed - self._started
        note = f" · {self._note}" if self._note else ""
        say(f"{self._name}: {self._done}/{self._total} in {elapsed_s:.0f} s{note}")


@contextmanager
def progress(name: str, total: int) -> Iterator[Progress]:
    """A Progress for the length of a block."""
    shown = Progress(name, total)
    try:
        yield shown
    finally:
        shown.close()
