"""Which row lives where: cells of fixed lengths, kept dense. Pure; `memory` has the tensors.

A slab holds cells of one length side by side, and attention runs over all of its cells at once,
so an empty cell among them would be computed in vain: `compact` moves the last one there. A row
moves to a longer cell when it outgrows its own. Lengths are 32, 48, 64, 96, 128, ...: at most a
third of a cell is empty for long, and a row moves twice while it doubles.
"""

from dataclasses import dataclass
from typing import NamedTuple

_SHORTEST = 32


@dataclass(eq=False)
class Cell:
    """Room for the keys and values of one row: the `index`-th of the slab of that length."""

    length: int  # tokens
    index: int


class Move(NamedTuple):
    """The content of a cell goes to another index of its slab."""

    length: int
    source: int
    target: int


class CellBook:
    """Cells given out, and the capacity of every slab; together at most `bound_tokens`."""

    def __init__(self, bound_tokens: int) -> None:
        self.bound_tokens = bound_tokens
        self._cells: dict[int, list[Cell | None]] = {}  # length -> by index, None: a hole
        self.capacity: dict[int, int] = {}  # length -> cells that its slab has memory for

    @property
    def used_tokens(self) -> int:
        """Tokens in cells that are given out."""
        return sum(
            length * sum(cell is not None for cell in cells)
            for length, cells in self._cells.items()
        )

    @property
    def held_tokens(self) -> int:
        """Tokens that there is memory for now."""
        return sum(length * cells for length, cells in self.capacity.items())

    def cells(self, length: int) -> int:
        """How many cells of a slab, from the first on, may be in use."""
        return len(self._cells.get(length, ()))

    def length_for(self, tokens: int) -> int:
        """Length of the cell that a row of so many tokens gets; `tokens` is within the bound."""
        power = _SHORTEST
        while power < tokens:
            if tokens <= power + power // 2:
                return min(power + power // 2, self.bound_tokens)
            power *= 2
        return min(power, self.bound_tokens)

    def place(self, tokens: int) -> Cell | None:
        """A cell for a row of so many tokens; None when there is no room for it.

        May change the capacity of any slab.
        """
        length = self.length_for(tokens)
        cells = self._cells.setdefault(length, [])
        is_full = None not in cells and len(cells) == self.capacity.get(length, 0)
        if is_full and not self._grow(length):
            return None
        cell = Cell(length, cells.index(None) if None in cells else len(cells))
        if cell.index == len(cells):
            cells.append(cell)
        else:
            cells[cell.index] = cell
        return cell

    def release(self, cell: Cell) -> None:
        """Take a cell back; it is a hole until it is given out again or `compact` closes it."""
        if self._cells[cell.length][cell.index] is not cell:
            raise ValueError(f"{cell} is not given out")
        self._cells[cell.length][cell.index] = None

    def compact(self) -> list[Move]:
        """Close all holes. The moves are to be made in this order; their cells are updated."""
        return [move for length in list(self._cells) for move in self._close_holes(length)]

    def _close_holes(self, length: int) -> list[Move]:
        cells, moves = self._cells[length], []
        while None in cells:
            last = cells.pop()
            if last is not None:
                hole = cells.index(None)
                moves.append(Move(length, last.index, hole))
                cells[hole], last.index = last, hole
        return moves

    def _grow(self, length: int) -> bool:
        """Double a slab, or give it as many cells as there is room for; False when for none."""
        has = self.capacity.get(length, 0)
        if (self.bound_tokens - self.held_tokens) // length < max(1, has):
            self.capacity = {size: len(cells) for size, cells in self._cells.items() if cells}
        room = (self.bound_tokens - self.held_tokens) // length
        if room < 1:
            return False
        self.capacity[length] = self.capacity.get(length, 0) + min(room, max(1, has))
        return True
