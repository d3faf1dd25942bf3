"""Which beginnings of sequences have their keys and values stored, and in which block. Pure.

A sequence is cut into blocks of 16 tokens. A stored block is found by its tokens and by the block
before it, down to a root that stands for one load of one adapter: keys that another adapter, or
the slot's former one, has computed can never be found. Nothing is hashed to a number, so nothing
can be mistaken for another prefix.

A block is claimed by the row that will compute it, and settled when it is computed; rows that
come in between see that it is worth waiting for. The least recently used block leaves first.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

BLOCK_TOKENS = 16


@dataclass(eq=False)
class Block:
    """A stored block: where it lies, and whether its content is there yet."""

    root: int
    key: tuple[int, tuple[int, ...]]  # the block before it (or the root), and its tokens
    serial: int
    depth: int  # which block of its sequences it is
    place: int  # index in the store's memory
    settled: bool = False
    dropped: bool = False

    @property
    def end(self) -> int:
        """Tokens of a sequence up to the end of this block."""
        return (self.depth + 1) * BLOCK_TOKENS

    @property
    def is_awaited(self) -> bool:
        """Whether somebody is about to compute it."""
        return not (self.settled or self.dropped)


class PrefixIndex:
    """At most `places` blocks, found by what they hold and what comes before."""

    def __init__(self, places: int) -> None:
        self._blocks: dict[tuple[int, tuple[int, ...]], Block] = {}
        self._settled: dict[Block, None] = {}  # the least recently used first
        self._free = list(reversed(range(places)))
        self._serials = count()

    def __len__(self) -> int:
        return len(self._blocks)

    def root(self) -> int:
        """A new root: the beginning of all sequences of one load of an adapter."""
        return next(self._serials)

    def find(self, root: int, ids: Sequence[int], blocks: int) -> tuple[list[Block], Block | None]:
        """The settled blocks that a sequence begins with, up to so many.

        Also the next one, when somebody has claimed it and is about to settle it.
        """
        found: list[Block] = []
        for block in islice(self._walk(root, ids), blocks):
            if not block.settled:
                return found, block
            found.append(block)
        self._touch(found)
        return found, None

    def claim(self, root: int, ids: Sequence[int]) -> list[Block]:
        """New blocks for the rest of a sequence's full blocks, as many as there is room for.

        None behind a block that another row has claimed: that row's come first.
        """
        chain = list(self._walk(root, ids))
        if not all(block.settled for block in chain):
            return []
        self._touch(chain)
        claimed, spared = list[Block](), set(chain)
        parent = chain[-1].serial if chain else root
        for depth in range(len(chain), len(ids) // BLOCK_TOKENS):
            place = self._take_place(spared)
            if place is None:
                break
            key = (parent, _tokens(ids, depth))
            block = Block(root, key, next(self._serials), depth, place)
            self._blocks[key] = block
            claimed.append(block)
            parent = block.serial
        return claimed

    def settle(self, blocks: Sequence[Block]) -> None:
        """Their content is computed; they may be used, and may leave."""
        for block in reversed(blocks):
            if not block.dropped:
                block.settled = True
                self._settled[block] = None

    def drop(self, blocks: Sequence[Block]) -> None:
        """Forget blocks; claimed ones will not be computed."""
        for block in blocks:
            if not block.dropped:
                block.dropped = True
                del self._blocks[block.key]
                self._settled.pop(block, None)
                self._free.append(block.place)

    def forget(self, root: int) -> None:
        """Forget every block of a root."""
        self.drop([block for block in self._blocks.values() if block.root == root])

    def clear(self) -> None:
        """Forget every block; roots stay what they are."""
        self.drop(list(self._blocks.values()))

    def _walk(self, parent: int, ids: Sequence[int]) -> Iterator[Block]:
        for depth in range(len(ids) // BLOCK_TOKENS):
            block = self._blocks.get((parent, _tokens(ids, depth)))
            if block is None:
                return
            yield block
            parent = block.serial

    def _touch(self, chain: Sequence[Block]) -> None:
        # The first block last: what follows a block must not outlive it, it could not be found.
        for block in reversed(chain):
            self._settled.pop(block, None)
            self._settled[block] = None

    def _take_place(self, spared: Collection[Block]) -> int | None:
        if not self._free:
            oldest = next(iter(self._settled), None)
            if oldest is None or oldest in spared:
                return None
            self.drop([oldest])
        return self._free.pop()


def _tokens(ids: Sequence[int], depth: int) -> tuple[int, ...]:
    return tuple(ids[depth * BLOCK_TOKENS : (depth + 1) * BLOCK_TOKENS])
