"""Adapters that a slot cannot hold are refused, with the reason, and leave nothing behind."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft.utils.other import get_pattern_key

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.base import LoadedBase
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots import bank
from actors.lm.slots.bank import SlotBank, check_base
from actors.lm.slots.lora import _by_pattern

MODULE = "model.layers.0.self_attn.q_proj"
KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def plain(adapter_paths: dict[str, str]) -> Adapter:
    return read_adapter(adapter_paths["plain"])


def _with_tensor(adapter: Adapter, key: str, tensor: torch.Tensor | None) -> Adapter:
    tensors = {k: v for k, v in adapter.tensors.items() if k != key}
    return replace(adapter, tensors=tensors if tensor is None else {**tensors, key: tensor})


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias=lora_only"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"lora_bias": True}, "lora_bias"),
        ({"peft_type": "IA3"}, "peft_type=IA3"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights=pissa_niter_16"),
        ({"r": 4}, "has rank 8, its config says 4"),
        ({"r": None}, "r=None"),
        ({"r": "8"}, "r=8 must be a whole rank"),
        ({"lora_alpha": None}, "lora_alpha=None"),
        ({"rank_pattern": {"q_proj": True}}, "rank_pattern"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern"),
        ({"base_model_name_or_path": "meta-llama/Llama-3.2-1B"}, "meta-llama/Llama-3.2-1B"),
        ({"base_model_name_or_path": None}, "does not name a base model"),
    ],
)
def test_options(base: LoadedBase, plain: Adapter, option: dict[str, Any], named: str) -> None:
    bank = SlotBank(base, max_adapters=1)
    with pytest.raises(RefusedAdapter, match=named):
        bank.load(replace(plain, config=plain.config | option))
    assert bank.load(plain) == 1


@pytest.mark.parametrize(
    ("key", "tensor", "named"),
    [
        (KEY, torch.zeros(8, 32).index_fill(1, torch.tensor(3), float("nan")), "not finite"),
        (KEY, torch.zeros(8, 32).index_fill(1, torch.tensor(3), -float("inf")), "not finite"),
        (KEY, torch.zeros(8, 32, dtype=torch.int64), "holds torch.int64"),
        (KEY, torch.zeros(8, 0), "0 -> 32 in the adapter"),
        (KEY, torch.zeros(8, 16), "32 -> 32 in the base model, 16 -> 32 in the adapter"),
        (KEY, torch.zeros(5, 32), "do not fit"),
        (KEY, None, "lora_B but not its partner"),
        (KEY.replace("layers.0", "layers.9"), torch.zeros(8, 32), "layers.9"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", torch.zeros(1), "embed_tokens"),
        ("base_model.model.lm_head.weight", torch.zeros(1), "lm_head"),
    ],
)
def test_tensors(
    base: LoadedBase, plain: Adapter, key: str, tensor: torch.Tensor | None, named: str
) -> None:
    with pytest.raises(RefusedAdapter, match=named):
        SlotBank(base, max_adapters=1).load(_with_tensor(plain, key, tensor))


def test_unknown_module_and_module_that_is_not_linear(base: LoadedBase, plain: Adapter) -> None:
    for module, named in (
        ("model.layers.0.input_layernorm", "LlamaRMSNorm"),
        ("model.layers.0.nothing", "no module"),
        ("lm_head", "module lm_head is not in a decoder layer"),
    ):
        pair = {
            f"base_model.model.{module}.lora_A.weight": torch.zeros(8, 32),
            f"base_model.model.{module}.lora_B.weight": torch.zeros(32, 8),
        }
        with pytest.raises(RefusedAdapter, match=named):
            SlotBank(base, max_adapters=1).load(replace(plain, tensors=pair))


@pytest.mark.parametrize(
    "pattern",
    ["q_proj", "self_attn.q_proj", r"self_attn\.q_proj", "attn.q_proj", "^q_proj", f"^{MODULE}",
     MODULE, "self_attn_q_proj", r"self_attn\_q_proj", "model.self.attn.q_proj", f"x{MODULE}",
     r"0.self.attn\.q_proj"],
)  # fmt: skip
def test_a_pattern_means_what_peft_takes_it_for(pattern: str) -> None:
    found = get_pattern_key([pattern], MODULE) == pattern
    assert (_by_pattern({pattern: 3}, MODULE, 8) == 3) == found


def test_no_tensors(base: LoadedBase, plain: Adapter) -> None:
    with pytest.raises(RefusedAdapter, match="holds no tensors"):
        SlotBank(base, max_adapters=1).load(replace(plain, tensors={}))


def test_all_names_of_the_tiny_model_are_one(
    plain: Adapter, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = bank.tiny_name()
    monkeypatch.setattr(bank, "tiny_directory", lambda: str(tmp_path))
    for name in ("tiny", full, str(tmp_path)):
        check_base(replace(plain, config={"base_model_name_or_path": name}), full)
    with pytest.raises(RefusedAdapter, match="tiny-00000000"):
        check_base(replace(plain, config={"base_model_name_or_path": "tiny-00000000"}), full)
