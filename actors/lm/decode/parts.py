"""Attention within a step, part by part.

- Rows with one token attend in one batch per slab, over all of its cells where they lie: the few
  queries are put into the cells' order, the cache is neither copied nor gathered.
- Beginnings of prompts attend to themselves, several in one batch, padded on the right, where
  causality hides the padding.
- Later chunks of prompts attend row by row to their cells.

Heads that share their keys and values are rows of one matrix instead of copies of the keys.
Plain matrix products beat `scaled_dot_product_attention` for single queries on a CPU: 64 rows of
100 tokens, 8 heads and 8 layers, one thread, took 15 ms of it against 21.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from actors.lm.decode.cells import Cell
from actors.lm.decode.memory import CacheMemory

_PADDED_SHARE = 0.25  # of the tokens of a batch of beginnings, at most


class Stretch(NamedTuple):
    """New tokens of one row in a step."""

    cell: Cell
    first: int  # place in the step
    tokens: int
    start: int  # position of the first one in its row: so many tokens are in the cell


class Part(Protocol):
    """Some of a step's tokens."""

    tokens: list[int]  # their places in the step

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None
    ) -> Tensor:
        """Answers [tokens, Hq, Dv] to scaled queries [N, Hq, D], keys and values [N, H, D]."""
        ...


class Singles:
    """Rows of one slab that bring one token: a batch over the slab's cells."""

    def __init__(self, memory: CacheMemory, stretches: Sequence[Stretch], cells: int) -> None:
        self.tokens = [stretch.first for stretch in stretches]
        self._slab, self._cells = memory.slabs[stretches[0].cell.length], cells
        # A cell that asks nothing gets a sound question, whose answer nobody reads.
        seen, asking = [1] * cells, [self.tokens[0]] * cells
        for stretch in stretches:
            seen[stretch.cell.index] = stretch.start + 1
            asking[stretch.cell.index] = stretch.first
        self._width, self._uneven = max(seen), min(seen) < max(seen)
        device = memory.shape.device
        self._seen, self._asking = torch.tensor([seen, asking]).to(device)
        self._read = torch.tensor([stretch.cell.index for stretch in stretches]).to(device)
        self._masks: dict[int | None, Tensor | None] = {}

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None
    ) -> Tensor:
        """See `Part`."""
        cells, width = self._cells, self._width
        keys, values = (side[layer, :cells].flatten(0, 1)[:, :width] for side in self._slab)
        asked = query.index_select(0, self._asking).view(len(keys), -1, query.shape[-1])
        if asked.shape[1] == 1:  # a vector on the right of a matrix is quicker than on its left
            scores = torch.bmm(keys, asked.transpose(1, 2)).view(cells, -1, width)
        else:
            scores = torch.bmm(asked, keys.transpose(1, 2)).view(cells, -1, width)
        mask = self._mask(window)
        if mask is not None:
            scores.masked_fill_(mask, -math.inf)
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        weights = weights.to(values.dtype).view(len(keys), -1, width)
        answers = torch.bmm(weights, values).view(cells, -1, values.shape[-1])
        return answers.index_select(0, self._read)

    def _mask(self, window: int | None) -> Tensor | None:
        """Places [cells, 1, width] that a cell's token must not see; None when it sees all."""
        if window is not None and window >= self._width:
            window = None
        if window not in self._masks:
            places = torch.arange(self._width, device=self._seen.device)
            seen = self._seen.view(-1, 1, 1)
            mask = places >= seen if self._uneven or window is not None else None
            if mask is not None and window is not None:
                mask |= places < seen - window
            self._masks[window] = mask
        return self._masks[window]


class Beginnings:
    """First chunks of prompts, padded to the longest of them."""

    def __init__(self, stretches: Sequence[Stretch], device: torch.device) -> None:
        self.tokens = [s.first + i for s in stretches for i in range(s.tokens)]
        width = max(stretch.tokens for stretch in stretches)
        padded = [[s.first + min(i, s.tokens - 1) for i in range(width)] for s in stretches]
        read = [row * width + i for row, s in enumerate(stretches) for i in range(s.tokens)]
        self._rows, self._width = len(stretches), width
        self._padded = torch.tensor(padded).flatten().to(device)
        self._read = torch.tensor(read).to(device)
        self._masks = _Masks(width, width, device)

    @classmethod
    def batches(cls, stretches: Sequence[Stretch], device: torch.device) -> list[Self]:
        """Stretches of like length together."""
        groups: list[list[Stretch]] = []
        for stretch in sorted(stretches, key=lambda stretch: -stretch.tokens):
            group = groups[-1] if groups else []
            width = group[0].tokens if group else 0
            if not group or stretch.tokens < (1 - _PADDED_SHARE) * width:
                groups.append([stretch])
            else:
                group.append(stretch)
        return [cls(group, device) for group in groups]

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None
    ) -> Tensor:
        """See `Part`."""
        states = (query, key, value)
        query, key, value = (
            state.index_select(0, self._padded).unflatten(0, (self._rows, -1)).transpose(1, 2)
            for state in states
        )
        if window is not None and window < self._width:
            answers = _masked(query, key, value, self._masks[window])
        else:
            answers = F.scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=1.0,
                enable_gqa=query.shape[1] > key.shape[1],
            )  # fmt: skip
        return answers.transpose(1, 2).flatten(0, 1).index_select(0, self._read)


class Continued:
    """A later chunk of a prompt: it sees what is in its cell."""

    def __init__(self, memory: CacheMemory, stretch: Stretch) -> None:
        self.tokens = list(range(stretch.first, stretch.first + stretch.tokens))
        self._slice = slice(stretch.first, stretch.first + stretch.tokens)
        self._slab, self._cell = memory.slabs[stretch.cell.length], stretch.cell.index
        self._seen = stretch.start + stretch.tokens
        self._masks = _Masks(stretch.tokens, self._seen, memory.shape.device)

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None
    ) -> Tensor:
        """See `Part`."""
        key, value = (
            side[layer, self._cell : self._cell + 1, :, : self._seen] for side in self._slab
        )
        query = query[self._slice].transpose(0, 1).unsqueeze(0)
        return _masked(query, key, value, self._masks[window])[0].transpose(0, 1)


class _Masks:
    """Which of the `seen` places each of the last `tokens` may look at, by window."""

    def __init__(self, tokens: int, seen: int, device: torch.device) -> None:
        self._tokens, self._seen, self._device = tokens, seen, device
        self._by_window: dict[int | None, Tensor] = {}

    def __getitem__(self, window: int | None) -> Tensor:
        if window not in self._by_window:
            places = torch.arange(self._seen, device=self._device)
            own = places[-self._tokens :].unsqueeze(1)
            mask = places <= own
            if window is not None:
                mask &= places > own - window
            self._by_window[window] = mask
        return self._by_window[window]


def _masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention [R, Hq, t, Dv] of queries [R, Hq, t, D] to keys [R, H, s, D] with mask [t, s]."""
    group = query.shape[1] // key.shape[1]
    queries = query.reshape(*key.shape[:2], -1, query.shape[-1])  # [R, H, group * t, D]
    answers = F.scaled_dot_product_attention(
        queries, key, value, attn_mask=mask.repeat(group, 1), scale=1.0
    )
    return answers.reshape(*query.shape[:3], value.shape[-1])
