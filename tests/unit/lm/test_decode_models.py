"""Many makes of models decode as transformers' own `generate`; what cannot is refused by name."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from decoding import ROOMY, TIGHT, Decoder, generated, requests
from small_base import byte_tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.lm.base import LoadedBase
from actors.lm.decode.probe import cache_shape
from configs.errors import UserError

_SIZES = {
    "vocab_size": 262, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "pad_token_id": 0,
}  # fmt: skip
_WINDOW = {"sliding_window": 8}
_SERVED: dict[str, tuple[str, dict[str, Any]]] = {
    "heads of their own": ("Llama", {"num_key_value_heads": 4}),
    "heads of other width": ("Qwen3", {"head_dim": 16}),
    "window": ("Mistral", _WINDOW),
    "window in some layers": ("Gemma3Text", {"head_dim": 8, **_WINDOW}),
    "window in the last layers": (
        "Qwen2", {"use_sliding_window": True, "max_window_layers": 1, **_WINDOW}
    ),
    "scaling": ("Granite", {"attention_multiplier": 0.3}),
    "learned positions": ("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "parallel blocks": ("GPTNeoX", {}),
    "experts": ("Mixtral", {"num_local_experts": 2}),
}  # fmt: skip
_REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "softcap": ("Gemma2", {"head_dim": 8}, "gemma2.*uses softcap"),
    "sinks": (
        "GptOss", {"head_dim": 8, "num_local_experts": 4}, "gpt_oss.*uses s_aux"
    ),
    "linear attention": ("Qwen3Next", {"head_dim": 8}, "type linear_attention"),
    "chunks": ("Llama4Text", {"head_dim": 8}, "type chunked_attention"),
    "alibi": ("Falcon", {}, "falcon.*no attention backend"),
    "unsteady positions": (
        "Llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        "depend on the longest row",
    ),
}  # fmt: skip


def _model(kind: str, options: dict[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**{**_SIZES, **options})
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()


@pytest.mark.parametrize("options", [ROOMY, TIGHT], ids=["roomy", "tight"])
@pytest.mark.parametrize("make", _SERVED)
def test_every_make_decodes_as_generate_does(make: str, options: dict[str, int]) -> None:
    kind, changed = _SERVED[make]
    model = _model(kind, changed, torch.float32 if kind == "Mixtral" else torch.float64)
    decoder = Decoder(LoadedBase("made", model, byte_tokenizer(), "made"), options)
    decoder.limits = replace(decoder.limits, end_ids=frozenset())
    rows = [decoder.row(request) for request in requests(12, ["base"], temperature=0.0)]
    decoder.run(rows[:8], late=rows[8:])
    assert len({tuple(row.token_ids[:3]) for row in rows}) > 2, "it says the same to everything"
    for row in rows:
        assert row.token_ids == generated(model, row.request)


@pytest.mark.parametrize("make", _REFUSED)
def test_what_a_step_cannot_compute_is_refused_by_name(make: str) -> None:
    kind, changed, named = _REFUSED[make]
    with pytest.raises(UserError, match=named):
        cache_shape(_model(kind, changed, torch.float32))


def test_a_model_that_counts_positions_by_itself_is_refused() -> None:
    model = _model("Llama", {}, torch.float32)

    def count_places(_: Any, __: Any, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + torch.arange(hidden.shape[1]).unsqueeze(1)

    model.get_input_embeddings().register_forward_hook(count_places)
    with pytest.raises(UserError, match="other logits"):
        cache_shape(model)


def test_outside_a_step_a_model_is_what_transformers_loaded() -> None:
    model = _model("Mistral", _WINDOW, torch.float32)
    before = model.config._attn_implementation
    ids = torch.arange(20).unsqueeze(0)
    with torch.inference_mode():
        want = model(input_ids=ids).logits
    decoder = Decoder(LoadedBase("made", model, byte_tokenizer(), "made"))
    decoder.run([decoder.row(request) for request in requests(2, ["base"])])
    assert model.config._attn_implementation == before
    with torch.inference_mode():
        assert torch.equal(model(input_ids=ids).logits, want)


def test_bfloat16_decodes_close_to_float32() -> None:
    rows = {}
    for dtype in (torch.float32, torch.bfloat16):
        made = LoadedBase("made", _model("Llama", {}, dtype), byte_tokenizer(), "made")
        decoder = Decoder(made, TIGHT)
        asked = requests(6, ["base"], temperature=0.0, prompt_logprobs=0)
        rows[dtype] = [decoder.row(request) for request in asked]
        decoder.run(rows[dtype])
    for exact, rough in zip(rows[torch.float32], rows[torch.bfloat16], strict=True):
        told = [row.result().prompt_logprobs for row in (exact, rough)]
        want, got = ([place.logprob for place in one[1:] if place] for one in told if one)
        assert got == pytest.approx(want, abs=0.05)
