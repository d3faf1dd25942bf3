"""A bank of slots against peft, one adapter at a time."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.base import LoadedBase, load_base
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.linear import SlotLinear

_TOKENS = torch.randint(5, 250, (1, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def full(base_directory: str, adapter_paths: dict[str, str]) -> tuple[SlotBank, list[Tensor]]:
    """A bank with every adapter, and per slot the logits [T, V] that peft gives the tokens."""
    bank = SlotBank(load_base(base_directory), max_adapters=8)
    want = [_logits(LlamaForCausalLM.from_pretrained(base_directory), _TOKENS)]
    for path in adapter_paths.values():
        assert bank.load(read_adapter(path)) == len(want)
        alone = LlamaForCausalLM.from_pretrained(base_directory)
        want.append(_logits(PeftModel.from_pretrained(alone, path), _TOKENS))
    return bank, [logits[0] for logits in want]


@settings(deadline=None)
@given(slots=st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_any_mix_has_pefts_logits(full: tuple[SlotBank, list[Tensor]], slots: list[int]) -> None:
    bank, want = full
    tokens = _TOKENS.expand(len(slots), -1)
    with bank.routed({slot: rows * tokens.shape[1] for slot, rows in Counter(slots).items()}):
        got = _logits(bank.base.model, tokens)
    torch.testing.assert_close(
        got, torch.stack([want[slot] for slot in sorted(slots)]), atol=2e-4, rtol=1e-3
    )


def test_outside_of_a_routed_pass_the_model_is_the_base(
    full: tuple[SlotBank, list[Tensor]],
) -> None:
    bank, want = full
    assert torch.equal(_logits(bank.base.model, _TOKENS)[0], want[0])
    with bank.routed({0: _TOKENS.numel()}):
        assert torch.equal(_logits(bank.base.model, _TOKENS)[0], want[0])


def test_a_pass_over_other_tokens_or_an_empty_slot_is_an_error(
    full: tuple[SlotBank, list[Tensor]],
) -> None:
    bank, _ = full
    with bank.routed({1: 3}), pytest.raises(ValueError, match="slot layer got"):
        _logits(bank.base.model, _TOKENS)
    with pytest.raises(ValueError, match=r"slots \[7\] are empty"), bank.routed({7: 3}):
        pass


def test_the_lowest_layer_that_slots_adapt(full: tuple[SlotBank, list[Tensor]]) -> None:
    bank, _ = full
    everywhere, last = 1, 5
    assert bank.lowest_layer([everywhere, last]) == 0
    assert bank.lowest_layer([0, last]) == 1
    assert bank.lowest_layer([0]) == 2


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
    for name, layer in _layers(base):
        in_first_layer = ".0." in name
        assert layer.B[slot].any() != in_first_layer
        assert layer.shrink.A[slot, layer.member].any() != in_first_layer


def test_loads_and_unloads_leave_the_weights_where_they_are(
    base: LoadedBase, adapter_paths: dict[str, str]
) -> None:
    bank = SlotBank(base, max_adapters=4)
    adapters = [read_adapter(path) for path in adapter_paths.values()]
    _load_and_unload(bank, adapters)
    places = [layer.B.data_ptr() for _, layer in _layers(base)]
    for _ in range(20):
        _load_and_unload(bank, adapters)
    assert [layer.B.data_ptr() for _, layer in _layers(base)] == places
    assert not any(layer.B.any() or layer.shrink.A.any() for _, layer in _layers(base))


def _load_and_unload(bank: SlotBank, adapters: list[Adapter]) -> None:
    for adapter in adapters:
        bank.unload(bank.load(adapter))


def _logits(model: nn.Module, tokens: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(input_ids=tokens).logits


def _layers(base: LoadedBase) -> list[tuple[str, SlotLinear]]:
    return [(n, m) for n, m in base.model.named_modules() if isinstance(m, SlotLinear)]
