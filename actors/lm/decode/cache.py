"""The cache that rows share: cells for those that run, blocks of prefixes for those to come.

A quarter of the tokens is for prefixes, the rest for cells. The border is fixed: prefixes never
push out a row, nor rows what many others begin with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.lm.decode.cells import Cell, CellBook
from actors.lm.decode.memory import CacheMemory, CacheShape
from actors.lm.decode.prefixes import BLOCK_TOKENS, Block, PrefixIndex

_PREFIX_SHARE = 0.25
# Kept free when rows come in, so that those which grow do not push them out again at once.
_SLACK_SHARE = 0.1


@dataclass(eq=False)
class Seat:
    """A row's place in the cache."""

    root: int  # of its adapter's prefixes
    cell: Cell
    cached: int  # tokens of its sequence that are computed and in the cell
    claimed: list[Block]  # what it computes for others too


class Cache:
    """Cells and prefixes of one model; keeps the tensors in step with the books."""

    def __init__(self, shape: CacheShape, cache_tokens: int) -> None:
        blocks = int(cache_tokens * _PREFIX_SHARE) // BLOCK_TOKENS
        self.tokens = cache_tokens
        self.book = CellBook(cache_tokens - blocks * BLOCK_TOKENS)
        self.memory = CacheMemory(shape, blocks)
        self.prefixes = PrefixIndex(blocks)

    @property
    def used_tokens(self) -> int:
        """Tokens in cells and blocks that hold something."""
        return self.book.used_tokens + len(self.prefixes) * BLOCK_TOKENS

    def awaited(self, root: int, ids: Sequence[int]) -> Block | None:
        """The block that a row would compute next, when another row is computing it."""
        return self.prefixes.find(root, ids, _usable_blocks(ids))[1]

    def seat(self, root: int, ids: Sequence[int], *, reuse: bool, alone: bool) -> Seat | None:
        """A seat for a sequence and its next token; None when there is no room for it.

        Args:
            root: its adapter's.
            ids: the sequence.
            reuse: whether what is stored of it need not be computed again.
            alone: nobody else has a seat, so there is nobody to leave room for.
        """
        length = self.book.length_for(len(ids) + 1)
        room = self.book.bound_tokens * (1.0 if alone else 1 - _SLACK_SHARE)
        if self.book.used_tokens + length > room:
            return None
        cell = self._place(len(ids) + 1)
        if cell is None:
            return None
        found = self.prefixes.find(root, ids, _usable_blocks(ids))[0] if reuse else []
        if found:
            self.memory.fetch(cell, found)
        claimed = self.prefixes.claim(root, ids) if reuse else []
        return Seat(root, cell, len(found) * BLOCK_TOKENS, claimed)

    def grow(self, seat: Seat, tokens: int) -> bool:
        """See to it that a seat has room for so many tokens; False when there is none."""
        if tokens <= seat.cell.length:
            return True
        content = self.memory.read(seat.cell, seat.cached)
        self.book.release(seat.cell)
        cell = self._place(tokens)
        fits = cell is not None
        # Its old length fits whatever happens: it has just been given back.
        cell = cell or self._place(seat.cell.length)
        assert cell is not None
        self.memory.write(cell, content)
        seat.cell = cell
        return fits

    def computed(self, seat: Seat, tokens: int) -> None:
        """So many more tokens are in the seat's cell; the blocks that they fill are stored."""
        seat.cached += tokens
        full = [block for block in seat.claimed if block.end <= seat.cached]
        if full:
            seat.claimed = seat.claimed[len(full) :]
            self._store(seat, full)

    def leave(self, seat: Seat, ids: Sequence[int]) -> None:
        """Give a seat back; what is computed of its sequence `ids` is stored, () for nothing."""
        self.prefixes.drop(seat.claimed)
        if kept := self.prefixes.claim(seat.root, ids[: seat.cached]):
            self._store(seat, kept)
        self.book.release(seat.cell)

    def clear(self) -> None:
        """Forget everything, whatever state a failure left it in; no seat may be used again."""
        self.book = CellBook(self.book.bound_tokens)
        self.memory.forget_cells()
        self.prefixes.clear()

    def give_up(self) -> None:
        """Give the memory back while nobody has a seat; everything is forgotten."""
        self.clear()
        self.memory.give_up()

    def take_back(self) -> None:
        """After `give_up`, seats can be taken again."""
        self.memory.take_back()

    def compact(self) -> None:
        """Close the holes among the cells."""
        self.memory.move(self.book.compact())

    def _place(self, tokens: int) -> Cell | None:
        cell = self.book.place(tokens)
        if cell is None:  # holes in one slab may hold the room that another needs
            self.compact()
            cell = self.book.place(tokens)
        self.memory.follow(self.book)
        if cell is not None:
            self.memory.clear(cell)
        return cell

    def _store(self, seat: Seat, blocks: Sequence[Block]) -> None:
        self.memory.keep(seat.cell, blocks)
        self.prefixes.settle(blocks)


def _usable_blocks(ids: Sequence[int]) -> int:
    # The last token is always computed: its logits choose the next one.
    return (len(ids) - 1) // BLOCK_TOKENS
