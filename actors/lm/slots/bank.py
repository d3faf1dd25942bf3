"""A base model with adapter slots: loads adapters into slots and routes batches through them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from actors.lm.adapter import Adapter
from actors.lm.base import LoadedBase, resolve_base_name
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots.linear import SlotGroups, SlotLinear
from actors.lm.slots.lora import check_modules, lora_pairs
from actors.lm.tiny import tiny_directory, tiny_name

_FIRST_CAPACITY = 4
_RANK_MULTIPLE = 8  # 16 bytes of bfloat16, the alignment that grouped_mm asks for


class SlotBank:
    """Owns the slots of one base model. Not safe to use from two threads at once."""

    def __init__(self, base: LoadedBase, max_adapters: int) -> None:
        self.base, self.max_adapters = base, max_adapters
        self._layers: dict[str, SlotLinear] = {}
        self._ranks: dict[int, dict[str, int]] = {}  # slot -> module -> rank before padding
        self._capacity, self._rank = _FIRST_CAPACITY, _RANK_MULTIPLE

    def load(self, adapter: Adapter) -> int:
        """Put an adapter into a free slot and return the slot; RefusedAdapter says why not."""
        check_base(adapter, self.base.name)
        pairs = lora_pairs(adapter)
        check_modules(self.base.model, pairs)
        slot = self._free_slot()
        self._make_room(slot, max(pair.a.shape[0] for pair in pairs.values()))
        for name, pair in pairs.items():
            self._layer(name).fill(slot, *pair)
        self._ranks[slot] = {name: pair.a.shape[0] for name, pair in pairs.items()}
        return slot

    def unload(self, slot: int) -> None:
        """Empty a slot."""
        for name in self._ranks.pop(slot):
            self._layers[name].clear(slot)

    def tensors(self, slot: int) -> dict[str, Tensor]:
        """A slot's weights under the names and in the shapes that PEFT gives them."""
        tensors = {}
        for name, rank in self._ranks[slot].items():
            layer, key = self._layers[name], f"base_model.model.{name}"
            tensors[f"{key}.lora_A.weight"] = layer.A[slot, :rank].clone()
            tensors[f"{key}.lora_B.weight"] = layer.B[slot, :, :rank].clone()
        return tensors

    @contextmanager
    def routed(self, groups: SlotGroups) -> Iterator[None]:
        """Forward passes in here give each group of rows its slot's weights."""
        for layer in self._layers.values():
            layer.activate(groups)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.activate(None)

    def _free_slot(self) -> int:
        taken = len(self._ranks)
        if taken >= self.max_adapters:
            raise RefusedAdapter(f"all {taken} places are taken; unload one or raise max_adapters")
        return next(slot for slot in range(1, taken + 2) if slot not in self._ranks)

    def _make_room(self, slot: int, rank: int) -> None:
        capacity, padded = self._capacity, -(-rank // _RANK_MULTIPLE) * _RANK_MULTIPLE
        while slot >= capacity:
            capacity = min(2 * capacity, self.max_adapters + 1)
        if (capacity, max(padded, self._rank)) == (self._capacity, self._rank):
            return
        self._capacity, self._rank = capacity, max(padded, self._rank)
        for layer in self._layers.values():
            layer.resize(self._capacity, self._rank)

    def _layer(self, name: str) -> SlotLinear:
        if name not in self._layers:
            parent, _, leaf = name.rpartition(".")
            owner = self.base.model.get_submodule(parent)
            linear = cast(nn.Linear, getattr(owner, leaf))
            dtype = self.base.model.dtype
            layer = SlotLinear(linear, capacity=self._capacity, rank=self._rank, dtype=dtype)
            setattr(owner, leaf, layer)
            self._layers[name] = layer
        return self._layers[name]


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
