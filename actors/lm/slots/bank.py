"""A base model with adapter slots: loads adapters into slots and routes batches through them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from actors.lm.adapter import Adapter
from actors.lm.base import LoadedBase, resolve_base_name
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots.linear import Shrink, SlotLinear
from actors.lm.slots.lora import check_modules, lora_pairs
from actors.lm.slots.routing import BASE_SLOT, Router, route
from actors.lm.tiny import tiny_directory, tiny_name

_FIRST_CAPACITY = 4
_RANK_MULTIPLE = 8  # 16 bytes of bfloat16, the alignment that grouped_mm asks for
# Layers that read the same tensor. A wrong guess would cost time only: Shrink compares the tensors.
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


class SlotBank:
    """Owns the slots of one base model. Not safe to use from two threads at once."""

    def __init__(self, base: LoadedBase, max_adapters: int) -> None:
        self.base, self.max_adapters = base, max_adapters
        self._router = Router()
        self._layers: dict[str, SlotLinear] = {}
        self._shrinks: dict[tuple[str, ...], Shrink] = {}  # by the names of the siblings
        self._loaded: dict[int, Adapter] = {}
        self._modules: dict[int, dict[str, int]] = {}  # what each slot adapts, in which layer
        self._capacity, self._rank = _FIRST_CAPACITY, _RANK_MULTIPLE

    def load(self, adapter: Adapter) -> int:
        """Put an adapter into a free slot and return the slot; RefusedAdapter says why not."""
        check_base(adapter, self.base.name)
        pairs = lora_pairs(adapter)
        check_modules(self.base.model, pairs)
        slot = self._free_slot()
        self._make_room(slot, max(pair.a.shape[0] for pair in pairs.values()))
        for name, pair in pairs.items():
            self._layer(name).fill(slot, pair.a, pair.b, pair.scale)
        self._loaded[slot] = adapter
        self._modules[slot] = {name: pair.layer for name, pair in pairs.items()}
        return slot

    def unload(self, slot: int) -> None:
        """Empty a slot."""
        del self._loaded[slot]
        for name in self._modules.pop(slot):
            self._layers[name].clear(slot)

    def tensors(self, slot: int) -> dict[str, Tensor]:
        """A slot's weights as PEFT gave them; those in the layers are scaled and padded."""
        return dict(self._loaded[slot].tensors)

    def lowest_layer(self, slots: Iterable[int]) -> int:
        """Index of the lowest decoder layer that one of the slots adapts; all layers if none."""
        adapted = [i for slot in slots for i in self._modules.get(slot, {}).values()]
        return min(adapted, default=self.base.model.config.get_text_config().num_hidden_layers)

    @contextmanager
    def routed(self, tokens_per_slot: Mapping[int, int]) -> Iterator[None]:
        """Forward passes in here give every token its slot's weights.

        The tokens come sorted by slot, ascending, so many for each slot. Nothing is copied here
        and no layer touched: a decode step has other rows than the last one.
        """
        if unknown := tokens_per_slot.keys() - self._loaded.keys() - {BASE_SLOT}:
            raise ValueError(f"slots {sorted(unknown)} are empty")
        device = self.base.model.device
        self._router.routing = route(tokens_per_slot, self._capacity, device)
        try:
            yield
        finally:
            self._router.routing = None

    def move(self, device: torch.device) -> None:
        """Take the base's weights and those of all slots to another device."""
        # transformers' own `to` refuses some models; nothing of it is needed here.
        nn.Module.to(self.base.model, device)
        for part in (*self._shrinks.values(), *self._layers.values()):
            part.move(device)

    def _free_slot(self) -> int:
        taken = len(self._loaded)
        if taken >= self.max_adapters:
            raise RefusedAdapter(f"all {taken} places are taken; unload one or raise max_adapters")
        return next(slot for slot in range(1, taken + 2) if slot not in self._loaded)

    def _make_room(self, slot: int, rank: int) -> None:
        capacity, padded = self._capacity, -(-rank // _RANK_MULTIPLE) * _RANK_MULTIPLE
        while slot >= capacity:
            capacity = min(2 * capacity, self.max_adapters + 1)
        if (capacity, max(padded, self._rank)) == (self._capacity, self._rank):
            return
        self._capacity, self._rank = capacity, max(padded, self._rank)
        for part in (*self._shrinks.values(), *self._layers.values()):
            part.resize(self._capacity, self._rank)

    def _layer(self, name: str) -> SlotLinear:
        if name not in self._layers:
            parent, _, leaf = name.rpartition(".")
            owner = self.base.model.get_submodule(parent)
            linear = cast(nn.Linear, getattr(owner, leaf))
            shrink = self._shrink(parent, leaf, linear)
            self._layers[name] = SlotLinear(linear, shrink, self._router)
            setattr(owner, leaf, self._layers[name])
        return self._layers[name]

    def _shrink(self, parent: str, leaf: str, linear: nn.Linear) -> Shrink:
        siblings = next((names for names in _SIBLINGS if leaf in names), (leaf,))
        key = (parent, *siblings)
        if key not in self._shrinks:
            self._shrinks[key] = Shrink(linear, capacity=self._capacity, rank=self._rank)
        return self._shrinks[key]


def check_base(adapter: Adapter, base_name: str) -> None:
    """RefusedAdapter when the adapter was trained on another base model than `base_name`."""
    trained_on = adapter.config.get("base_model_name_or_path")
    if not trained_on:
        raise RefusedAdapter("its config does not name a base model (base_model_name_or_path)")
    if resolve_base_name(trained_on) == base_name:
        return
    if _directory(trained_on) is not None and _directory(trained_on) == _directory(base_name):
        return
    raise RefusedAdapter(f'it was trained on "{trained_on}", this server runs "{base_name}"')


def _directory(name: str) -> str | None:
    """The folder that a model's name stands for, None for a hub id."""
    if name == tiny_name():
        return os.path.realpath(tiny_directory())
    return os.path.realpath(name) if os.path.isdir(name) else None
