"""The pure parts of decoding keep their invariants: token shares, cells, prefixes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.lm.decode.cells import Cell, CellBook
from actors.lm.decode.plan import share_tokens
from actors.lm.decode.prefixes import BLOCK_TOKENS, Block, PrefixIndex

_BOUND = 400
_PLACES = 6


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(0, 40))
def test_shares_keep_to_the_step_and_everybody_gets_on(missing: list[int], spare: int) -> None:
    step_tokens = len(missing) + spare
    shares = share_tokens(missing, step_tokens)
    assert sum(shares) <= step_tokens
    assert all(0 <= share <= count for share, count in zip(shares, missing, strict=True))
    assert all(share == 1 for share, count in zip(shares, missing, strict=True) if count == 1)
    longer = [(share, count) for share, count in zip(shares, missing, strict=True) if count > 1]
    assert not longer or longer[0][0] >= 1, "the oldest prompt is not read on"
    unserved = [i for i, (share, count) in enumerate(longer) if share < count]
    assert all(share == 0 for share, _ in longer[unserved[0] + 1 :]) if unserved else True
    assert not unserved or sum(shares) == step_tokens, "tokens were left over"


class CellModel(RuleBasedStateMachine):
    """Rows come, leave and are moved; each has its own content at its own place."""

    def __init__(self) -> None:
        super().__init__()
        self.book = CellBook(_BOUND)
        self.memory: dict[tuple[int, int], object] = {}
        self.owners: list[tuple[Cell, object]] = []

    @rule(tokens=st.integers(1, _BOUND))
    def place(self, tokens: int) -> None:
        used = self.book.used_tokens
        cell = self.book.place(tokens)
        if cell is None:
            self.compact()
            cell = self.book.place(tokens)
        length = self.book.length_for(tokens)
        if cell is None:
            assert used + length > _BOUND, "refused although there was room"
            return
        assert tokens <= cell.length == length
        content = object()
        self.memory[cell.length, cell.index] = content
        self.owners.append((cell, content))

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        cell, _ = self.owners.pop(data.draw(st.integers(0, len(self.owners) - 1)))
        self.book.release(cell)
        with pytest.raises(ValueError, match="not given out"):
            self.book.release(cell)

    @rule()
    def compact(self) -> None:
        for length, source, target in self.book.compact():
            self.memory[length, target] = self.memory[length, source]
        for length in self.book.capacity:
            indices = {cell.index for cell, _ in self.owners if cell.length == length}
            assert indices == set(range(self.book.cells(length))), "a hole is left"

    @invariant()
    def every_row_has_its_own_cell(self) -> None:
        assert all(self.memory[c.length, c.index] is content for c, content in self.owners)
        places = [(cell.length, cell.index) for cell, _ in self.owners]
        assert len(set(places)) == len(places)
        assert all(index < self.book.capacity[length] for length, index in places)

    @invariant()
    def the_bound_is_kept(self) -> None:
        assert self.book.used_tokens == sum(cell.length for cell, _ in self.owners)
        assert self.book.used_tokens <= self.book.held_tokens <= _BOUND

    def teardown(self) -> None:
        for cell, _ in self.owners:
            self.book.release(cell)
        assert self.book.used_tokens == 0


TestCells = CellModel.TestCase


class PrefixModel(RuleBasedStateMachine):
    """Sequences of two roots over a small alphabet; a place holds what was last stored there."""

    def __init__(self) -> None:
        super().__init__()
        self.index = PrefixIndex(_PLACES)
        self.roots = [self.index.root(), self.index.root()]
        self.stored: dict[int, tuple[int, list[int]]] = {}  # place -> root and prefix
        self.claims: list[tuple[int, list[int], list[Block]]] = []

    sequences = st.lists(st.sampled_from([0, 1]), max_size=4).map(
        lambda blocks: [token for token in blocks for _ in range(BLOCK_TOKENS)] + [7]
    )

    @rule(which=st.integers(0, 1), ids=sequences)
    def claim(self, which: int, ids: list[int]) -> None:
        root = self.roots[which]
        self.claims.append((root, ids, self.index.claim(root, ids)))

    @precondition(lambda self: self.claims)
    @rule()
    def settle(self) -> None:
        root, ids, blocks = self.claims.pop(0)
        for block in blocks:
            if not block.dropped:
                self.stored[block.place] = (root, ids[: block.end])
        self.index.settle(blocks)

    @precondition(lambda self: self.claims)
    @rule()
    def give_up(self) -> None:
        self.index.drop(self.claims.pop()[2])

    @rule(which=st.integers(0, 1))
    def reload(self, which: int) -> None:
        self.index.forget(self.roots[which])
        self.roots[which] = self.index.root()

    @rule(which=st.integers(0, 1), ids=sequences, limit=st.integers(0, 4))
    def find(self, which: int, ids: list[int], limit: int) -> None:
        root = self.roots[which]
        found, awaited = self.index.find(root, ids, limit)
        assert len(found) <= min(limit, len(ids) // BLOCK_TOKENS)
        for block in found:
            assert self.stored[block.place] == (root, ids[: block.end])
        assert awaited is None or awaited.is_awaited
        assert awaited is None or any(awaited in blocks for _, _, blocks in self.claims)

    @invariant()
    def places_are_neither_lost_nor_shared(self) -> None:
        blocks = list(self.index._blocks.values())
        places = [block.place for block in blocks] + self.index._free
        assert sorted(places) == list(range(_PLACES))
        assert all(block.settled for block in self.index._settled)

    def teardown(self) -> None:
        self.index.clear()
        assert len(self.index) == 0


TestPrefixes = PrefixModel.TestCase


def test_the_least_recently_used_prefix_leaves_first() -> None:
    index = PrefixIndex(2)
    root = index.root()
    one, two, three = ([token] * BLOCK_TOKENS for token in (1, 2, 3))
    for ids in (one, two):
        index.settle(index.claim(root, ids))
    index.find(root, one, 1)
    index.settle(index.claim(root, three))
    assert [bool(index.find(root, ids, 1)[0]) for ids in (one, two, three)] == [True, False, True]
