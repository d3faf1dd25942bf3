"""Which slot's weights each token of a forward pass gets.

The tokens of a pass are sorted by slot once, before the model runs, so that every slot layer works
on contiguous groups. Slot 0 is the base: its tokens come first and nothing is added to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BASE_SLOT = 0
# Up to here one batched product per run beats grouped_mm (CPU, 64 tokens, 16 and 64 slots).
_MAX_RUNS = 4
_ALIGNMENT_BYTES = 16
_GROUPED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Run(NamedTuple):
    """Neighbouring slots with the same number of tokens each."""

    slots: slice
    tokens_each: int
    tokens: slice  # counted from the first token that is not the base's

    @property
    def groups(self) -> int:
        """How many slots it holds."""
        return self.slots.stop - self.slots.start


@dataclass(frozen=True, eq=False)
class Routing:
    """How the sorted tokens of a pass fall into groups of one slot each."""

    tokens: int
    base_tokens: int
    runs: tuple[Run, ...]
    ends: Tensor  # [S] int32: where each slot's tokens end, the base's left out


class Router:
    """The routing of the pass that is being computed, for all layers to read; None: base alone."""

    def __init__(self) -> None:
        self.routing: Routing | None = None


def route(
    tokens_per_slot: Mapping[int, int], capacity: int, device: torch.device
) -> Routing | None:
    """The routing of a pass over so many tokens of each slot; None when all are the base's."""
    base_tokens = tokens_per_slot.get(BASE_SLOT, 0)
    runs: list[Run] = []
    ends, end = [0] * capacity, 0
    for slot in range(BASE_SLOT + 1, capacity):
        start, end = end, end + tokens_per_slot.get(slot, 0)
        ends[slot] = end
        if end == start:
            continue
        run = Run(slice(slot, slot + 1), end - start, slice(start, end))
        if runs and runs[-1].slots.stop == slot and runs[-1].tokens_each == run.tokens_each:
            first = runs.pop()
            slots, tokens = slice(first.slots.start, slot + 1), slice(first.tokens.start, end)
            run = Run(slots, run.tokens_each, tokens)
        runs.append(run)
    if not runs:
        return None
    on_device = torch.tensor(ends, dtype=torch.int32, device=device)
    return Routing(base_tokens + end, base_tokens, tuple(runs), on_device)


def routed_product(x: Tensor, weights: Tensor, routing: Routing) -> Tensor:
    """Each token times its slot's weights: x [N, k], weights [S, k, n] -> [N, n]."""
    if len(routing.runs) > _MAX_RUNS and _grouped_mm_fits(x, weights):
        return F.grouped_mm(x, weights, offs=routing.ends)
    parts = []
    for run in routing.runs:
        rows = x[run.tokens].reshape(run.groups, run.tokens_each, -1)
        parts.append(torch.bmm(rows, weights[run.slots]).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _grouped_mm_fits(x: Tensor, weights: Tensor) -> bool:
    # Its backward refuses gradients whose strides are not aligned, such as an expanded sum's.
    if torch.is_grad_enabled() or x.dtype not in _GROUPED_DTYPES:
        return False
    _, k, n = weights.shape
    width = _ALIGNMENT_BYTES // x.element_size()
    return k % width == 0 and n % width == 0 and x.stride(0) % width == 0
