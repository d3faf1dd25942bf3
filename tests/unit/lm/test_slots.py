"""Slot layers against their definition, and a bank of slots against peft."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import nn
from transformers import LlamaForCausalLM

from actors.lm.adapter import read_adapter
from actors.lm.base import LoadedBase
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.linear import SlotLinear, group_rows

SLOTS = st.lists(st.integers(0, 6), min_size=1, max_size=40)


@given(SLOTS)
def test_groups_cover_every_row_once_and_base_comes_first(slots: list[int]) -> None:
    order, groups = group_rows(slots)
    assert sorted(order) == list(range(len(slots)))
    assert groups.rows == len(slots)
    assert list(groups.sizes) == sorted(groups.sizes)
    laid_out = [0] * groups.base_rows
    for slot, size in zip(groups.slots, groups.sizes, strict=True):
        laid_out += [slot] * size
    assert laid_out == [slots[row] for row in order]
    assert sum(run.groups * run.rows_each for run in groups.runs) == sum(groups.sizes)


def _filled_layer(width: int, rank: int, dtype: torch.dtype) -> SlotLinear:
    torch.manual_seed(0)
    linear = nn.Linear(width, 2 * width, bias=False, dtype=dtype).requires_grad_(False)
    layer = SlotLinear(linear, capacity=7, rank=rank, dtype=dtype)
    for slot in range(1, 7):
        low = 1 + slot % rank
        a, b = torch.randn(low, width, dtype=dtype), torch.randn(2 * width, low, dtype=dtype)
        layer.fill(slot, a, b, 0.5 * slot)
    return layer


def _one_by_one(layer: SlotLinear, x: torch.Tensor, slots: list[int]) -> torch.Tensor:
    rows = [
        layer.base(row) + layer.scale[slot] * (row @ layer.A[slot].T @ layer.B[slot].T)
        for row, slot in zip(x, slots, strict=True)
    ]
    return torch.stack(rows)


# Widths of 16 go through grouped_mm when groups are ragged, widths of 5 cannot.
@settings(deadline=None)
@given(slots=SLOTS, width=st.sampled_from([5, 16]), tokens=st.integers(1, 3))
def test_layer_equals_one_row_after_another(slots: list[int], width: int, tokens: int) -> None:
    layer = _filled_layer(width, rank=8, dtype=torch.float32)
    order, groups = group_rows(slots)
    x = torch.randn(len(slots), tokens, width)
    layer.activate(groups)
    with torch.inference_mode():
        got = layer(x)
    torch.testing.assert_close(got, _one_by_one(layer, x, [slots[i] for i in order]))


def test_gradients_reach_input_and_slots_exactly() -> None:
    layer = _filled_layer(16, rank=8, dtype=torch.float64)
    slots = [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    x = torch.randn(len(slots), 2, 16, dtype=torch.float64, requires_grad=True)
    inputs = [x, layer.A.requires_grad_(), layer.B.requires_grad_()]
    layer.activate(group_rows(slots)[1])
    got = torch.autograd.grad(layer(x).square().sum(), inputs)
    want = torch.autograd.grad(_one_by_one(layer, x, slots).square().sum(), inputs)
    for ours, reference in zip(got, want, strict=True):
        torch.testing.assert_close(ours, reference)


def test_resize_keeps_what_is_loaded() -> None:
    layer = _filled_layer(16, rank=8, dtype=torch.float32)
    x = torch.randn(4, 1, 16)
    before = _one_by_one(layer, x, [1, 2, 3, 6])
    layer.resize(20, 24)
    torch.testing.assert_close(_one_by_one(layer, x, [1, 2, 3, 6]), before)
    assert layer.A.shape == (20, 24, 16)


def test_rows_of_another_count_are_an_error() -> None:
    layer = _filled_layer(16, rank=8, dtype=torch.float32)
    layer.activate(group_rows([1, 2])[1])
    with pytest.raises(ValueError, match="slot layer got"):
        layer(torch.randn(3, 1, 16))


def test_mixed_batch_has_pefts_logits(base: LoadedBase, adapter_paths: dict[str, str]) -> None:
    bank = SlotBank(base, max_adapters=8)
    names = ["base", *adapter_paths]
    slots = [0] + [bank.load(read_adapter(path)) for path in adapter_paths.values()]
    tokens = torch.randint(5, 250, (len(names), 9))
    order, groups = group_rows(slots)
    with torch.inference_mode(), bank.routed(groups):
        logits = base.model(input_ids=tokens[order]).logits
    for row, i in enumerate(order):
        alone: nn.Module = LlamaForCausalLM.from_pretrained(base.name)
        if names[i] != "base":
            alone = PeftModel.from_pretrained(alone, adapter_paths[names[i]])
        with torch.inference_mode():
            want = alone(input_ids=tokens[i : i + 1]).logits[0]
        torch.testing.assert_close(logits[row], want, atol=2e-4, rtol=1e-3)


def test_a_slot_writes_back_what_it_read(base: LoadedBase, adapter_paths: dict[str, str]) -> None:
    bank = SlotBank(base, max_adapters=8)
    for path in adapter_paths.values():
        adapter = read_adapter(path)
        written = bank.tensors(bank.load(adapter))
        assert written.keys() == adapter.tensors.keys()
        assert all(torch.equal(written[key], adapter.tensors[key]) for key in written)


def test_an_unloaded_slot_is_empty_and_used_again(
    base: LoadedBase, adapter_paths: dict[str, str]
) -> None:
    bank = SlotBank(base, max_adapters=2)
    plain, attention, last = (
        read_adapter(adapter_paths[n]) for n in ("plain", "attention", "last")
    )
    slot = bank.load(plain)
    bank.load(attention)
    with pytest.raises(RefusedAdapter, match="all 2 places are taken"):
        bank.load(last)
    bank.unload(slot)
    assert bank.load(last) == slot
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert key not in bank.tensors(slot)
    assert not any(layer.A[slot].any() for name, layer in _layers(base) if ".0." in name)


def _layers(base: LoadedBase) -> list[tuple[str, SlotLinear]]:
    return [(n, m) for n, m in base.model.named_modules() if isinstance(m, SlotLinear)]
