"""Passes of a batch: exact gradients of every loss, however the batch is laid out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import peft
import pytest
import torch
import torch.nn.functional as F
import transformers
from small_base import byte_tokenizer, small_llama
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.lm.base import LoadedBase
from actors.train.backend import AdamParams
from actors.train.datum import Datum
from actors.train.losses import LOSSES, LossName, TokenInputs
from actors.train.on_torch import passes
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.halves import Halves
from actors.train.on_torch.lora import add_lora
from actors.train.on_torch.start import checkpoint_layers
from configs.sections import LoraConfig

EVERYWHERE = LoraConfig(rank=4, alpha=8, targets=["q_proj", "v_proj", "down_proj", "lm_head"])
LENGTHS = (9, 3, 17, 9, 1, 12)


def batch(seed: int = 0, vocabulary: int = 262) -> list[Datum]:
    """Rows with everything that any loss reads; some positions teach nothing."""
    rng = np.random.default_rng(seed)

    def row(length: int) -> Datum:
        ids = rng.integers(0, vocabulary, length + 1)
        numbers = rng.normal(size=(3, length)).astype(np.float32)
        hidden = rng.random(length) < 0.3
        return Datum(
            ids[:-1], ids[1:],
            weights=np.where(hidden, np.float32(0), numbers[0]),
            logprobs=numbers[1] - np.float32(5),
            advantages=np.where(hidden, np.float32(0), numbers[2]),
        )  # fmt: skip

    return [row(length) for length in LENGTHS]


def with_lora(
    model: PreTrainedModel, lora: LoraConfig, dtype: torch.dtype = torch.float64
) -> peft.PeftModel:
    nn.Module.to(model.eval().requires_grad_(False), dtype)
    adapted = add_lora(LoadedBase("small", model, byte_tokenizer(), "digest"), lora, seed=3)
    torch.manual_seed(11)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # with B = 0 the gradient of A would be 0 whatever the code does
            parameter.data.normal_(std=0.3)
    return adapted.to(dtype)


def naive(model: peft.PeftModel, datums: list[Datum], loss: LossName):
    """Loss and gradients row by row with all logits, and each row's log-probabilities."""
    total = torch.zeros((), dtype=torch.float64)
    logprobs = []
    for datum in datums:
        logits = model(input_ids=torch.from_numpy(datum.token_ids)[None], use_cache=False).logits[0]
        targets = torch.from_numpy(datum.target_ids)
        chosen = F.log_softmax(logits, dim=-1)[torch.arange(len(targets)), targets]
        arrays = (datum.weights, datum.logprobs, datum.advantages)
        given = TokenInputs(*(torch.from_numpy(a) for a in arrays if a is not None))
        total = total + LOSSES[loss](chosen, given, {})
        logprobs.append(chosen.detach().numpy())
    total.backward()
    return total.item(), gradients(model), logprobs


def gradients(model: peft.PeftModel) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("micro_batch_tokens", [1, 20, 1000])
@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_gradients_are_those_of_all_logits_at_once(
    loss: LossName, micro_batch_tokens: int, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    datums = batch()
    value, expected, logprobs = naive(with_lora(small_llama(), EVERYWHERE), datums, loss)
    model = with_lora(small_llama(), EVERYWHERE)
    monkeypatch.setitem(passes._CHUNK_LOGITS, "cpu", chunk * 262)
    backend = TorchBackend(model, seed=0, micro_batch_tokens=micro_batch_tokens)
    passed = backend.forward_backward(datums, loss).result()
    assert passed.loss == pytest.approx(value, abs=1e-10)
    assert_same(gradients(model), expected)
    for datum, told, full in zip(datums, passed.logprobs, logprobs, strict=True):
        assert told == pytest.approx(np.where(datum.taught(loss), full, 0), abs=1e-6)
    again = backend.forward(datums, loss).result()
    assert again.loss == pytest.approx(value, abs=1e-10)
    assert_same(gradients(model), expected)  # a forward pass adds nothing


_SIZES: dict[str, Any] = {
    "vocab_size": 262, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "pad_token_id": 0,
}  # fmt: skip
_WINDOW = {"sliding_window": 10}
_LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 10,
    "short_factor": [1.0] * 4, "long_factor": [3.0] * 4,
}  # fmt: skip


def made(kind: str, options: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**{**_SIZES, **options})
    return AutoModelForCausalLM.from_config(config)


# name -> (model, its options, a layer of it to adapt, the longest document that is packed)
MODELS: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "heads of other width": ("Qwen3", {"head_dim": 16}, "q_proj", 128),
    "window": ("Mistral", _WINDOW, "q_proj", 10),
    "window in some layers": (
        "Gemma3Text",
        {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"], **_WINDOW},
        "q_proj",
        10,
    ),
    "two scales of positions": (
        "Phi3",
        {"original_max_position_embeddings": 10, "rope_parameters": _LONGROPE},
        "qkv_proj",
        10,
    ),
    "scales": ("Granite", {"attention_multiplier": 0.3, "logits_scaling": 3.0}, "q_proj", 128),
    "learned positions": ("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 16}, "q_proj", 128),
    "other names": ("GPT2", {"n_positions": 128}, "c_attn", 128),
    "parallel blocks": ("GPTNeoX", {}, "query_key_value", 128),
    "experts": ("Mixtral", {"num_local_experts": 2}, "q_proj", 128),
    "soft caps": ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 1.0}, "q_proj", 0),
    "sinks": ("GptOss", {"head_dim": 8, "num_local_experts": 4}, "q_proj", 0),
    "positions from the mask": ("Bloom", {}, "query_key_value", 0),
    "state": ("Mamba", {"state_size": 4}, "in_proj", 0),
}

# Models that compute some of it in float32, or cannot compute in float64 at all.
_ROUGH = {
    "Mamba": torch.float64,
    "Bloom": torch.float64,
    "Mixtral": torch.float32,
    "GptOss": torch.float32,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_make_of_model_learns_what_it_would_row_by_row(name: str):
    kind, options, target, reach = MODELS[name]
    dtype = _ROUGH.get(kind, torch.float64)

    def adapted() -> peft.PeftModel:
        return with_lora(made(kind, options), LoraConfig(rank=4, targets=[target]), dtype)

    datums, model = batch(), adapted()
    assert Halves(model.get_base_model()).reach == reach  # type: ignore[arg-type]
    value, expected, _ = naive(adapted(), datums, "cross_entropy")
    backend = TorchBackend(model, seed=0, micro_batch_tokens=1000)
    tight = 1e-10 if kind not in _ROUGH else 2e-5
    assert backend.forward_backward(datums, "cross_entropy").result().loss == pytest.approx(
        value, abs=tight
    )
    found = gradients(model)
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=0, atol=tight)


@pytest.mark.parametrize(
    "make",
    [
        small_llama,
        lambda: made("Mistral", _WINDOW),
        lambda: made("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.5}),
    ],
)
def test_checkpointed_layers_learn_the_same(make: Callable[[], PreTrainedModel]):
    found = []
    for again in (False, True):
        model = with_lora(make(), LoraConfig(rank=4, dropout=0.3))
        backend = TorchBackend(model, seed=0, micro_batch_tokens=40)
        if again:
            checkpoint_layers(model)
        seen = backend.forward(batch(), "cross_entropy").result().loss
        loss = backend.forward_backward(batch(), "cross_entropy").result().loss
        found.append(((seen, loss), gradients(model)))
    (plain, expected), (checkpointed, told) = found
    assert checkpointed == plain
    assert_same(told, expected)


def test_a_full_gpu_is_no_reason_to_pad():
    model = small_llama()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    model.get_decoder().register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        Halves(model)


@pytest.mark.parametrize("reach", [0, 10, 128])
def test_what_drops_out_does_not_depend_on_how_a_batch_is_split(
    reach: int, monkeypatch: pytest.MonkeyPatch
):
    lora = LoraConfig(**(EVERYWHERE.model_dump() | {"dropout": 0.5}))
    found = []
    for micro_batch_tokens, chunk in ((1, 1000), (20, 5), (1000, 7)):
        model = with_lora(small_llama(), lora)
        monkeypatch.setitem(passes._CHUNK_LOGITS, "cpu", chunk * 262)
        backend = TorchBackend(model, seed=0, micro_batch_tokens=micro_batch_tokens)
        monkeypatch.setattr(backend._passes._halves, "reach", reach)
        checkpoint_layers(model)
        loss = backend.forward_backward(batch(), "cross_entropy").result().loss
        assert loss != pytest.approx(backend.forward(batch(), "cross_entropy").result().loss)
        found.append((loss, gradients(model)))
    for loss, told in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-10)
        assert_same(told, found[0][1])


def test_what_is_not_a_number_stays_in_its_row():
    model = with_lora(small_llama(), EVERYWHERE)
    model.get_input_embeddings().register_forward_hook(
        lambda _, ids, states: states.masked_fill((ids[0] == 7).unsqueeze(-1), torch.nan)
    )
    datums = batch(vocabulary=7)
    broken = Datum(np.array([3, 7, 4]), np.array([1, 2, 3]), np.ones(3, np.float32))
    backend = TorchBackend(model, seed=0, micro_batch_tokens=1000)
    passed = backend.forward([*datums[:2], broken, *datums[2:]], "cross_entropy").result()
    assert [bool(np.isfinite(row).all()) for row in passed.logprobs] == [
        index != 2 for index in range(7)
    ]


def test_a_batch_that_teaches_nothing_stays_finite():
    model = with_lora(small_llama(), EVERYWHERE)
    before = {n: p.clone() for n, p in model.named_parameters() if p.requires_grad}
    backend = TorchBackend(model, seed=0, micro_batch_tokens=20)
    masked = [Datum(d.token_ids, d.target_ids, np.zeros(len(d), np.float32)) for d in batch()]
    passed = backend.forward_backward(masked, "cross_entropy").result()
    assert passed.loss == 0
    assert [len(row) for row in passed.logprobs] == list(LENGTHS)
    adam = AdamParams(learning_rate=0.1, grad_clip_norm=1.0)
    assert backend.optim_step(adam).result().grad_norm == 0
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if p.requires_grad)


def test_a_bfloat16_base_gives_nearly_the_gradients_of_a_float32_one(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(passes._CHUNK_LOGITS, "cpu", 5 * 262)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model = with_lora(small_llama(), EVERYWHERE, dtype)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float() / 10  # as small as an adapter is
        backend = TorchBackend(model, seed=0, micro_batch_tokens=20)
        passed = backend.forward_backward(batch(), "cross_entropy").result()
        found.append((passed.loss, torch.cat([g.flatten() for g in gradients(model).values()])))
    (loss, expected), (rough_loss, rough) = found
    assert rough.dtype == torch.float32
    assert rough_loss == pytest.approx(loss, abs=0.05)
    assert (rough - expected).norm() < 0.05 * expected.norm()
