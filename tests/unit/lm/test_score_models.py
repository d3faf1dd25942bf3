"""Trees on models of other makes: those that take them, and those that are given chains."""

from typing import Any

import pytest
import torch
from small_scoring import alone, finished
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    MambaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen3MoeConfig,
)

from actors.lm.adapter import Adapter
from actors.lm.base import LoadedBase
from actors.lm.requests import Question
from actors.lm.scoring.forward import tree_reach
from actors.lm.scoring.score import score
from actors.lm.slots.bank import SlotBank

_SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
_LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
_OWN = {"hidden_size": 32, "vocab_size": 64}
# name -> (config, tokens up to which a path may share its row)
_MODELS: dict[str, tuple[PreTrainedConfig, int]] = {
    "window": (MistralConfig(**_SIZES, sliding_window=8), 8),
    "windows on some layers": (
        Gemma3TextConfig(**_SIZES, layer_types=_LAYERS, sliding_window=8),
        8,
    ),
    "capped logits": (
        Gemma2Config(**_SIZES, layer_types=_LAYERS, sliding_window=64, final_logit_softcapping=1.0),
        64,
    ),
    "experts": (
        Qwen3MoeConfig(**_SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
        128,
    ),
    "no layers at the top": (
        OPTConfig(**_OWN, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
                  word_embed_proj_dim=32, max_position_embeddings=128), 128,
    ),
    "learned positions": (
        GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=128), 128,
    ),
    "parallel branches": (
        GPTNeoXConfig(**_OWN, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                      max_position_embeddings=128), 128,
    ),
    "positions from the mask": (BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4), 0),
    "alibi": (
        FalconConfig(**_OWN, num_hidden_layers=2, num_attention_heads=4, alibi=True), 0,
    ),
    "state": (MambaConfig(**_OWN, num_hidden_layers=2, state_size=4), 0),
}  # fmt: skip


def _bank(config: PreTrainedConfig, small_base: LoadedBase) -> SlotBank:
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return SlotBank(LoadedBase("other", model, small_base.tokenizer, "digest"), max_adapters=2)


@pytest.mark.parametrize("name", _MODELS)
def test_a_tree_says_what_each_continuation_says_alone(name: str, base: LoadedBase) -> None:
    config, reach = _MODELS[name]
    bank = _bank(config, base)
    assert tree_reach(bank.base.model) == reach
    torch.manual_seed(0)
    questions = []
    for context_tokens in (1, 4, 5, 6, 7, 20, 30):
        ids = torch.randint(5, 60, (context_tokens + 8,)).tolist()
        context, stem = ids[:context_tokens], ids[context_tokens:]
        questions.append(Question(context, [[*stem[:2], 1], [*stem[:2], 2, 3], stem, stem[2:]]))
    ((scores,), _) = finished(score(bank, [0], ["digest"], questions, 64))
    for question, told in zip(questions, scores.questions, strict=True):
        want = [likelihood.logprob for likelihood in alone(bank, 0, question)]
        assert [x.logprob for x in told] == pytest.approx(want, abs=1e-5, rel=0)


@pytest.mark.parametrize("name", ["no layers at the top", "windows on some layers", "experts"])
def test_adapters_on_layers_wherever_the_model_keeps_them(name: str, base: LoadedBase) -> None:
    bank = _bank(_MODELS[name][0], base)
    modules = [
        module.removesuffix(".weight")
        for module, _ in bank.base.model.named_parameters()
        if ".1." in module and "q_proj.weight" in module
    ]
    slots = [0, *(bank.load(_adapter(modules)) for _ in range(2))]
    questions = [Question([7, 8, 9 + i], [[5, 6, 7], [5, 8, 7], [6]]) for i in range(3)]
    results, _ = finished(score(bank, slots, ["-"] * 3, questions, 64))
    told = [[x.logprob for x in scores.questions[0]] for scores in results]
    assert told[0] != told[1] != told[2]
    for slot, scores in zip(slots, results, strict=True):
        for question, likelihoods in zip(questions, scores.questions, strict=True):
            want = [likelihood.logprob for likelihood in alone(bank, slot, question)]
            assert [x.logprob for x in likelihoods] == pytest.approx(want, abs=1e-5, rel=0)


def _adapter(modules: list[str]) -> Adapter:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "other"}
    tensors = {}
    for module in modules:
        tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(4, 32)
        tensors[f"base_model.model.{module}.lora_B.weight"] = torch.randn(32, 4)
    return Adapter(config, tensors)


def test_attention_without_a_mask_for_each_query_is_given_chains(base: LoadedBase) -> None:
    base.model.config._attn_implementation = "flash_attention_2"
    assert tree_reach(base.model) == 0
