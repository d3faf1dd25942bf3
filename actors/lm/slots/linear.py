"""Adapter slots: a linear layer with LoRA weights for many adapters at once.

A batch's rows are sorted by slot once, before the model runs; every slot layer then works on
contiguous groups of rows. Slot 0 is the base: its rows come first and nothing is added to them.
Groups of equal size share one batched matmul. Batches with many different sizes go through
`grouped_mm`, whose cost does not grow with their number.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BASE_SLOT = 0
# Up to here one batched matmul per group size beats grouped_mm (2 cores, 64 rows, 16 adapters).
_MAX_RUNS = 3
_ALIGNMENT_BYTES = 16
_GROUPED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Run(NamedTuple):
    """Neighbouring groups of equal size."""

    first_group: int
    groups: int
    rows_each: int


@dataclass(frozen=True)
class SlotGroups:
    """How the sorted rows of a batch fall into groups of one slot each, base rows first."""

    base_rows: int
    slots: tuple[int, ...]  # [G], without the base
    sizes: tuple[int, ...]  # [G] rows, ascending

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return self.base_rows + sum(self.sizes)

    @property
    def runs(self) -> list[Run]:
        """The groups by their size."""
        first, runs = 0, []
        for size, members in groupby(self.sizes):
            count = len(list(members))
            runs.append(Run(first, count, size))
            first += count
        return runs


def group_rows(slots: Sequence[int]) -> tuple[list[int], SlotGroups]:
    """The order that sorts rows by slot (row indices), and the groups they then form."""
    sizes = Counter(slots)

    def place(row: int) -> tuple[bool, int, int]:
        slot = slots[row]
        return slot != BASE_SLOT, sizes[slot], slot

    order = sorted(range(len(slots)), key=place)
    base_rows = sizes.pop(BASE_SLOT, 0)
    present = sorted(sizes, key=lambda slot: (sizes[slot], slot))
    return order, SlotGroups(base_rows, tuple(present), tuple(sizes[s] for s in present))


@dataclass(frozen=True)
class _Active:
    """The weights of one layer for the groups of the batch that is being computed."""

    groups: SlotGroups
    runs: list[Run]
    a: Tensor  # [G, in, r]
    b: Tensor  # [G, r, out], scaled


class SlotLinear(nn.Module):
    """A frozen linear layer and the LoRA weights of S slots for it.

    Weights of a lower rank than the layer's are padded with zeros, which add nothing.
    """

    A: Tensor  # [S, r, in]
    B: Tensor  # [S, out, r]
    scale: Tensor  # [S]

    def __init__(self, base: nn.Linear, *, capacity: int, rank: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.base = base
        device = base.weight.device
        a = torch.zeros(capacity, rank, base.in_features, dtype=dtype, device=device)
        b = torch.zeros(capacity, base.out_features, rank, dtype=dtype, device=device)
        self.register_buffer("A", a, persistent=False)
        self.register_buffer("B", b, persistent=False)
        scale = torch.zeros(capacity, dtype=dtype, device=device)
        self.register_buffer("scale", scale, persistent=False)
        self._active: _Active | None = None

    def resize(self, capacity: int, rank: int) -> None:
        """Make room for more slots or a higher rank; what is loaded stays."""
        slots, old_rank, _ = self.A.shape
        more, wider = capacity - slots, rank - old_rank
        self.A = F.pad(self.A, (0, 0, 0, wider, 0, more))
        self.B = F.pad(self.B, (0, wider, 0, 0, 0, more))
        self.scale = F.pad(self.scale, (0, more))

    def fill(self, slot: int, a: Tensor, b: Tensor, scale: float) -> None:
        """Put one adapter's weights, a [r', in] and b [out, r'], into a slot."""
        self.clear(slot)
        self.A[slot, : a.shape[0]] = a.to(self.A)
        self.B[slot, :, : b.shape[1]] = b.to(self.B)
        self.scale[slot] = scale

    def clear(self, slot: int) -> None:
        """Make a slot add nothing."""
        for weights in (self.A, self.B, self.scale):
            weights[slot] = 0

    def activate(self, groups: SlotGroups | None) -> None:
        """Choose the weights of the next forward passes; None is the base alone."""
        if groups is None or not groups.slots:
            self._active = None
            return
        index = torch.tensor(groups.slots, device=self.A.device)
        a = self.A[index].transpose(1, 2)
        b = (self.B[index] * self.scale[index, None, None]).transpose(1, 2)
        self._active = _Active(groups, groups.runs, a, b)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, T, in] -> [rows, T, out]; rows sorted as `group_rows` says."""
        y = self.base(x)
        if self._active is None:
            return y
        if x.dim() != 3 or x.shape[0] != self._active.groups.rows:
            raise ValueError(f"slot layer got {tuple(x.shape)}, expected {self._active.groups}")
        if len(self._active.runs) > _MAX_RUNS and _grouped_mm_fits(self._active, x):
            return _add_ragged(y, x, self._active)
        return _add_runs(y, x, self._active)


def _add_runs(y: Tensor, x: Tensor, active: _Active) -> Tensor:
    row = active.groups.base_rows
    for first_group, groups, rows_each in active.runs:
        rows, members = (
            slice(row, row + groups * rows_each),
            slice(first_group, first_group + groups),
        )
        hidden = torch.bmm(x[rows].reshape(groups, -1, x.shape[-1]), active.a[members])
        y[rows].view(groups, -1, y.shape[-1]).baddbmm_(hidden, active.b[members])
        row = rows.stop
    return y


def _add_ragged(y: Tensor, x: Tensor, active: _Active) -> Tensor:
    sizes = torch.tensor(active.groups.sizes, device=x.device)
    ends = (sizes.cumsum(0) * x.shape[1]).to(torch.int32)  # in tokens
    rows = slice(active.groups.base_rows, None)
    hidden = F.grouped_mm(x[rows].reshape(-1, x.shape[-1]), active.a, offs=ends)
    update = F.grouped_mm(hidden, active.b, offs=ends)
    y[rows].view(-1, y.shape[-1]).add_(update)
    return y


def _grouped_mm_fits(active: _Active, x: Tensor) -> bool:
    # Its backward refuses gradients whose strides are not aligned, such as an expanded sum's.
    if torch.is_grad_enabled() or x.dtype not in _GROUPED_DTYPES:
        return False
    widths = (*active.a.shape[1:], active.b.shape[2])
    return all(width * x.element_size() % _ALIGNMENT_BYTES == 0 for width in widths)
