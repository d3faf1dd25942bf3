"""Everything that is wrong with a data file, told at once."""

from configs.errors import UserError

_SHOWN = 20


class Problems:
    """Collects one line per problem and raises them together."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Note a problem: `file:line: what is wrong; what mends it`."""
        self._lines.append(line)

    def check(self) -> None:
        """Raise UserError with the first problems and the number of the others."""
        if not self._lines:
            return
        shown = self._lines[:_SHOWN]
        if len(self._lines) > _SHOWN:
            shown.append(f"... and {len(self._lines) - _SHOWN} more.")
        raise UserError("\n".join(shown))
