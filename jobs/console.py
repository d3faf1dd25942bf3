"""What a person sees: lines, tables within 100 columns, progress as a bar or as lines."""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

WIDTH = 100
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_SIGNS = 10.0  # of life, while there is no news
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}"


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

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self._name, self._total, self._done, self._note = name, total, done, ""
        self._started = self._printed = time.monotonic()
        self._shown = (done, "")  # what the last line said
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total, initial=done, desc=name, ncols=WIDTH, bar_format=_BAR, file=sys.stderr
            )
        self._over = threading.Event()
        self._signs = threading.Thread(target=self._give_signs, daemon=True)
        self._signs.start()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more; `note` stands beside the count until it changes."""
        self._done += steps
        self._note = note or self._note
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(steps)
        else:
            self._print_if_due()

    def reach(self, done: int, note: str = "") -> None:
        """Count up to `done`, and never back: what is done again was counted."""
        self.advance(max(0, done - self._done), note)

    def note(self, note: str) -> None:
        """Put another note beside the count, and show it though nothing was done."""
        self._note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note)
        else:
            self._print_if_due()

    def close(self) -> None:
        """End the bar, or print the last line where there is something to tell."""
        self._over.set()
        self._signs.join()
        now = (self._done, self._note)
        if self._bar is not None:
            self._bar.close()
        elif now != self._shown:
            self._print()

    def _give_signs(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_SIGNS):
            if self._bar is not None:
                self._bar.refresh()
            else:
                self._print_if_due()

    def _print_if_due(self) -> None:
        if time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._print()

    def _print(self) -> None:
        self._printed, self._shown = time.monotonic(), (self._done, self._note)
        elapsed_s = self._printed - self._started
        note = f" · {self._note}" if self._note else ""
        say(f"{self._name}: {self._done}/{self._total} in {elapsed_s:.0f} s{note}")


class Pace:
    """How many things are done a second, over the last ten seconds.

    0 until a second has passed, and while what was done before is done again.
    """

    _SPAN_S, _LEAST_S = 10.0, 1.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()  # when, and how many were done by then

    def per_s(self, done: int, now_s: float) -> float:
        """The pace now that `done` things are done in all."""
        self._seen.append((now_s, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - self._SPAN_S:
            self._seen.popleft()
        began_s, before = self._seen[0]
        if now_s - began_s < self._LEAST_S:
            return 0.0
        return max(0.0, (done - before) / (now_s - began_s))


@contextmanager
def progress(name: str, total: int, done: int = 0) -> Iterator[Progress]:
    """A Progress for the length of a block; `done` were done before it."""
    shown = Progress(name, total, done)
    try:
        yield shown
    finally:
        shown.close()


def short_digest(digest: str) -> str:
    """The first digits; where a digest is of a path, with the word that says so."""
    kind, colon, digits = digest.rpartition(":")
    return kind + colon + digits[:12]


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
