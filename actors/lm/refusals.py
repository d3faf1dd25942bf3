"""What an engine answers instead of a sample or a score.

An adapter or a request that cannot be used is told by its reason; nothing falls through to base.
"""

from collections.abc import Sequence

_SHOWN = 20  # names of loaded adapters in a message


class UnknownAdapter(Exception):
    """No adapter of that name is loaded; `known` lists those that are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        more = f" and {len(known) - _SHOWN:,} more" if len(known) > _SHOWN else ""
        shown = ", ".join(known[:_SHOWN])
        super().__init__(f'Unknown adapter "{name}". Loaded: {shown}{more}.')
        self.name, self.known = name, list(known)

    def __reduce__(self) -> tuple[type["UnknownAdapter"], tuple[str, list[str]]]:
        return type(self), (self.name, self.known)


class RefusedAdapter(Exception):
    """An adapter that this engine cannot serve: another base, unknown modules, broken tensors."""


class BrokenAdapter(Exception):
    """An adapter whose forward pass gives numbers that are not finite; others are unaffected."""


class BadRequest(ValueError):
    """A request that cannot be answered as it is asked; the message names the limit it breaks.

    `field` is "prompt", another field of a request, or None where no single one is at fault.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[type["BadRequest"], tuple[str, str | None]]:
        return type(self), (str(self), self.field)
