"""One forward pass of a batch for K adapters: shared layers once, the head where it is read.

The model runs as transformers wrote it, with hooks in two places. In front of the lowest layer
that any of the adapters changes, what is one row per tree becomes K; in front of the head, all
places become those that are read, so that whatever a model does to its logits is done to these.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.lm.scoring.batches import Batch
from actors.lm.slots.bank import SlotBank

_TREE_ATTENTION = ("sdpa", "eager")  # take a mask for each query
_TREE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


def tree_reach(model: PreTrainedModel) -> int:
    """Tokens up to which a path may share its row with others; 0 where rows must be chains.

    A tree is a mask over attention: a state that is carried from token to token, or positions
    that are counted from the mask, know nothing of it. A window sees nothing of the mask either
    once it is narrower than the path.
    """
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or _TREE_LAYERS)
    takes_trees = (
        "position_ids" in inspect.signature(model.forward).parameters
        and config._attn_implementation in _TREE_ATTENTION
        and not model._is_stateful
        and not getattr(config, "alibi", False)
        and layers <= _TREE_LAYERS
    )
    if not takes_trees:
        return 0
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((window for window in windows if window), default=config.max_position_embeddings)


@torch.inference_mode()
def logits_at_reads(bank: SlotBank, slots: Sequence[int], batch: Batch) -> Tensor:
    """[K, R, V]: what the adapters in K slots, ascending, say at the batch's reads."""
    model, copies = bank.base.model, len(slots)
    rows, length = batch.token_ids.shape
    firsts = rows * length * torch.arange(copies, device=batch.reads.device)
    inputs = {"input_ids": batch.token_ids}
    if batch.mask is not None and batch.positions is not None:
        inputs |= {"attention_mask": batch.mask, "position_ids": batch.positions}
    routed = bank.routed(dict.fromkeys(slots, rows * length))
    layers = getattr(model.base_model, "layers", None)
    if isinstance(layers, nn.ModuleList):
        own = _widened(layers[bank.lowest_layer(slots) :], rows, copies, routed)
    else:
        inputs = {name: _repeated(value, copies) for name, value in inputs.items()}
        own = routed
    with own, _gathered(model, (firsts[:, None] + batch.reads).flatten()):
        logits = model(**inputs, use_cache=False).logits  # [1, K * R, V]
    return logits[0].unflatten(0, (copies, -1))


@contextmanager
def _gathered(model: PreTrainedModel, places: Tensor) -> Iterator[None]:
    """The head is applied to these places of the flattened rows alone."""

    def gather(_: nn.Module, args: tuple[Tensor, ...]) -> Tensor:
        return args[0].flatten(0, 1)[places].unsqueeze(0)

    handle = cast(nn.Module, model.get_output_embeddings()).register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _widened(
    layers: nn.ModuleList, rows: int, copies: int, routed: AbstractContextManager[None]
) -> Iterator[None]:
    """Layers get K copies of what they are given for B rows, and run inside of `routed`."""
    known: dict[int, tuple[Tensor, Tensor]] = {}  # all layers are given the same mask

    def widened(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(widened, value))
        if not isinstance(value, Tensor) or value.dim() < 2 or len(value) != rows:
            return value
        if id(value) not in known:
            known[id(value)] = value, _repeated(value, copies)
        return known[id(value)][1]

    def before(layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if layer is layers[0]:
            stack.enter_context(routed)
        return widened(args), {name: widened(value) for name, value in kwargs.items()}

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
        yield


def _repeated(value: Tensor, copies: int) -> Tensor:
    """[B, ...] -> [K * B, ...], copy after copy."""
    return value if copies == 1 else value.repeat(copies, *(1,) * (value.dim() - 1))
