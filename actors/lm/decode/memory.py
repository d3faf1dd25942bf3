"""Keys and values: the tensors behind `cells` and `prefixes`.

A slab is [layers, cells, heads, length, D]: the keys of all its cells in one layer are one batch
of matrices, which attention reads where they lie. The store of prefixes has blocks of the same
form. Both are allocated as zeros: memory that was never written may hold NaN, and NaN times a
weight of zero is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from actors.lm.decode.cells import Cell, CellBook, Move
from actors.lm.decode.prefixes import BLOCK_TOKENS, Block


@dataclass(frozen=True)
class CacheShape:
    """What every layer of a model keeps for a token: keys [heads, key_dim], values likewise."""

    layers: int
    heads: int
    key_dim: int
    value_dim: int
    dtype: torch.dtype
    device: torch.device

    def zeros(self, count: int, length: int) -> "KeysValues":
        """Room for `count` stretches of `length` tokens."""
        head = (self.layers, count, self.heads, length)
        keys = torch.zeros(*head, self.key_dim, dtype=self.dtype, device=self.device)
        values = torch.zeros(*head, self.value_dim, dtype=self.dtype, device=self.device)
        return KeysValues(keys, values)


class KeysValues(NamedTuple):
    """Keys [layers, cells, heads, length, key_dim] and values."""

    keys: Tensor
    values: Tensor


class CacheMemory:
    """Slabs of the sizes that a CellBook names, and `blocks` blocks of prefixes."""

    def __init__(self, shape: CacheShape, blocks: int) -> None:
        self.shape = shape
        self.slabs: dict[int, KeysValues] = {}
        self._blocks, self._store = blocks, shape.zeros(blocks, BLOCK_TOKENS)

    def follow(self, book: CellBook) -> None:
        """Give every slab the capacity that the book says."""
        for length in set(self.slabs) | set(book.capacity):
            before, cells = self.slabs.get(length), book.capacity.get(length, 0)
            if not cells:
                self.slabs.pop(length, None)
            elif before is None:
                self.slabs[length] = self.shape.zeros(cells, length)
            elif before.keys.shape[1] != cells:
                self.slabs[length] = after = self.shape.zeros(cells, length)
                kept = min(cells, before.keys.shape[1])
                for old, new in zip(before, after, strict=True):
                    new[:, :kept] = old[:, :kept]

    def move(self, moves: Sequence[Move]) -> None:
        """Copy cells to other places of their slabs, one after another."""
        for move in moves:
            for side in self.slabs[move.length]:
                side[:, move.target] = side[:, move.source]

    def clear(self, cell: Cell) -> None:
        """Leave nothing of a former row: what it held may not even be finite."""
        for side in self.slabs[cell.length]:
            side[:, cell.index] = 0

    def forget_cells(self) -> None:
        """Give the memory of all cells back."""
        self.slabs.clear()

    def give_up(self) -> None:
        """Give all of the memory back, and with it what was stored."""
        self.forget_cells()
        self._store = self.shape.zeros(0, BLOCK_TOKENS)

    def take_back(self) -> None:
        """After `give_up`, be there again, empty."""
        self._store = self.shape.zeros(self._blocks, BLOCK_TOKENS)

    def read(self, cell: Cell, tokens: int) -> KeysValues:
        """A copy of a cell's first tokens."""
        keys, values = self.slabs[cell.length]
        return KeysValues(
            keys[:, cell.index, :, :tokens].clone(), values[:, cell.index, :, :tokens].clone()
        )

    def write(self, cell: Cell, content: KeysValues) -> None:
        """Fill a cell from its beginning."""
        for side, part in zip(self.slabs[cell.length], content, strict=True):
            side[:, cell.index, :, : part.shape[2]] = part

    def fetch(self, cell: Cell, blocks: Sequence[Block]) -> None:
        """Copy stored blocks to the beginning of a cell."""
        places = self._places(blocks)
        self.write(
            cell,
            KeysValues(*(side[:, places].transpose(1, 2).flatten(2, 3) for side in self._store)),
        )

    def keep(self, cell: Cell, blocks: Sequence[Block]) -> None:
        """Store blocks of a cell that follow each other."""
        places, stretch = (
            self._places(blocks),
            slice(blocks[0].depth * BLOCK_TOKENS, blocks[-1].end),
        )
        for stored, side in zip(self._store, self.slabs[cell.length], strict=True):
            part = side[:, cell.index, :, stretch].unflatten(2, (len(blocks), BLOCK_TOKENS))
            stored[:, places] = part.transpose(1, 2)

    def _places(self, blocks: Sequence[Block]) -> Tensor:
        return torch.tensor([block.place for block in blocks], device=self.shape.device)
