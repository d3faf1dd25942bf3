"""The turns of one training client: its requests run in the order of their numbers.

The SDK sends the parts of a large batch at once and the first of them last, and sends a request
again when a connection broke.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

# How far ahead of its turn a request may be. The SDK sends one after the other; only the parts of a
# batch, 1,024 datums each, come at once.
MOST_AHEAD = 4096


class Turns(Generic[T]):
    """Hands out what arrives in the order of its number, each number once."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._early: dict[int, T] = {}

    def check(self, number: int) -> None:
        """ValueError for a number whose turn is over, or lies further ahead than MOST_AHEAD."""
        if not 0 <= number - self._next <= MOST_AHEAD:
            last = self._next + MOST_AHEAD
            raise ValueError(
                f"seq_id={number} is not one of {self._next}..{last}, which may come now"
            )

    def arrive(self, number: int, item: T) -> list[T]:
        """What may run now, in order. A number that was there before is left out."""
        if number >= self._next:
            self._early.setdefault(number, item)
        ready = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next))
            self._next += 1
        return ready

    @property
    def waits_for(self) -> int:
        """The number whose turn it is."""
        return self._next
