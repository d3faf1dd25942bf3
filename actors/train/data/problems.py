"""Everything that is wrong with a data set, told at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import UserError

_SHOWN = 20


class Problems:
    """Collects one line per problem and raises them together."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: str) -> None:
        """Note a problem: `file:line: what is wrong; what mends it`."""
        self._lines.append(line)

    @contextmanager
    def told(self) -> Iterator[None]:
        """A UserError inside becomes one of the problems, and what comes after is gone on with."""
        try:
            yield
        except UserError as error:
            self.add(str(error))

    def check(self) -> None:
        """Raise UserError with the first problems and the number of the others."""
        if not self._lines:
            return
        shown = self._lines[:_SHOWN]
        if len(self._lines) > _SHOWN:
            shown.append(f"... and {len(self._lines) - _SHOWN} more.")
        raise UserError("\n".join(shown))
