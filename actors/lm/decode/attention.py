"""What a model's attention layers call during a step, in place of transformers' own attention.

The tokens of a step lie one after another in one row, [1, N]. Each layer writes the keys and
values of all of them into their cells, and then attends part by part (see `parts`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from actors.lm.attending import attending
from actors.lm.decode.memory import CacheMemory
from actors.lm.decode.parts import Beginnings, Continued, Part, Singles, Stretch

_NAME = "hothouse_step"
_ARGUMENT = "decode_step"  # models hand what they do not know by keyword on to the attention


def step_logits(
    model: PreTrainedModel, token_ids: Sequence[int], positions: Sequence[int],
    reads: Sequence[int], step: Callable[..., Tensor],
) -> Tensor:  # fmt: skip
    """One forward pass over N packed tokens whose layers attend through `step`.

    Returns the logits [R, V] after the R tokens that `reads` counts out of the N.
    """
    packed = torch.tensor([token_ids, positions]).to(model.device)
    ids, places = packed.unsqueeze(1)
    with attending(model.config, _NAME):
        output = model(
            input_ids=ids,
            position_ids=places,
            use_cache=False,
            logits_to_keep=torch.tensor(reads).to(model.device),
            **{_ARGUMENT: step},
        )
    return output.logits[0]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    return options.pop(_ARGUMENT)(module, query, key, value, **options), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)


class StepAttention:
    """The stretches of one step, and what all layers share to attend within them."""

    def __init__(
        self, memory: CacheMemory, stretches: Sequence[Stretch], cells: Mapping[int, int]
    ) -> None:
        """`cells` says how many cells of each slab, from the first on, are in use."""
        by_length: dict[int, list[Stretch]] = {}
        for stretch in stretches:
            by_length.setdefault(stretch.cell.length, []).append(stretch)
        self._writes = [_Write(memory, group) for group in by_length.values()]
        self._parts: list[Part] = []
        for length, group in by_length.items():
            if singles := [stretch for stretch in group if stretch.tokens == 1]:
                self._parts.append(Singles(memory, singles, cells[length]))
        longer = [stretch for stretch in stretches if stretch.tokens > 1]
        device = memory.shape.device
        self._parts += Beginnings.batches([s for s in longer if s.start == 0], device)
        self._parts += [Continued(memory, stretch) for stretch in longer if stretch.start]
        order = torch.tensor([token for part in self._parts for token in part.tokens])
        self._places = order.argsort().to(device)  # of the step's tokens among the answers

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
        scaling: float | None = None, sliding_window: int | None = None, **_: object,
    ) -> Tensor:  # fmt: skip
        """Attention [1, N, Hq, Dv] of queries [1, Hq, N, D], keys and values [1, H, N, D].

        A token sees itself and what came before it in its row; with a window only the last
        `sliding_window` of these.
        """
        layer: int = module.layer_idx  # type: ignore[assignment]
        query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
        query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        for write in self._writes:
            write(layer, key, value)
        answers = [part(layer, query, key, value, sliding_window) for part in self._parts]
        return torch.cat(answers).index_select(0, self._places).unsqueeze(0)


class _Write:
    """New keys and values go into the cells of one slab."""

    def __init__(self, memory: CacheMemory, group: Sequence[Stretch]) -> None:
        length, heads, device = group[0].cell.length, memory.shape.heads, memory.shape.device
        self._slab = memory.slabs[length]
        tokens = [s.first + i for s in group for i in range(s.tokens)]
        lines = [
            s.cell.index * heads * length + s.start + i for s in group for i in range(s.tokens)
        ]
        self._tokens, first_lines = torch.tensor([tokens, lines]).to(device)
        head_lines = torch.arange(heads, device=device) * length
        self._lines = (first_lines.unsqueeze(1) + head_lines).flatten()

    def __call__(self, layer: int, key: Tensor, value: Tensor) -> None:
        for side, new in zip(self._slab, (key, value), strict=True):
            lines = side[layer].view(-1, side.shape[-1])  # [cells * heads * length, D]
            lines.index_copy_(0, self._lines, new.index_select(0, self._tokens).flatten(0, 1))
