"""Passes by the base alone, and passes at a temperature."""

from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_base import byte_tokenizer, small_llama
from transformers import PreTrainedModel

from actors.lm.base import LoadedBase
from actors.train.backend import AdamParams
from actors.train.datum import Datum
from actors.train.on_torch import passes
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora
from actors.train.on_torch.shared_base import SharedBase
from configs.sections import LoraConfig

LORA = LoraConfig(rank=4, alpha=8, dropout=0.4)


def trained_backend() -> TorchBackend:
    """One whose adapter says something else than the base."""
    small = small_llama().eval().requires_grad_(False)
    model = add_lora(LoadedBase("small", small, byte_tokenizer(), "digest"), LORA, seed=3)
    torch.manual_seed(11)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    return TorchBackend(model, seed=0, micro_batch_tokens=12)


def batch() -> list[Datum]:
    ids = np.random.default_rng(0).integers(0, 262, (4, 8))
    return [Datum(row[:-1], row[1:], np.ones(7, np.float32)) for row in ids]


def expected(datum: Datum, temperature: float) -> np.ndarray:
    """By the bare base, all logits at once."""
    with torch.no_grad():
        logits = small_llama().eval()(input_ids=torch.from_numpy(datum.token_ids)[None]).logits[0]
    whole = F.log_softmax(logits / temperature, dim=-1)
    return whole[torch.arange(len(datum)), torch.from_numpy(datum.target_ids)].numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_the_reference_is_the_base_alone(temperature: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(passes._CHUNK_LOGITS, "cpu", 5 * 262)
    backend, config = trained_backend(), {"temperature": temperature}
    told = backend.reference(batch(), config).result()
    for datum, logprobs in zip(batch(), told.logprobs, strict=True):
        np.testing.assert_allclose(logprobs, expected(datum, temperature), atol=1e-5)
    own = backend.forward(batch(), "cross_entropy", config).result()
    assert abs(own.loss - told.loss) > 1e-2


def test_a_reference_between_passes_changes_nothing_that_is_learnt():
    plain, asked = trained_backend(), trained_backend()
    steps = []
    for backend in (plain, asked):
        first = backend.forward_backward(batch(), "cross_entropy").result()
        if backend is asked:
            backend.reference(batch())
        second = backend.forward_backward(batch(), "cross_entropy").result()
        norm = backend.optim_step(AdamParams(learning_rate=1e-2)).result().grad_norm
        after = backend.forward(batch(), "cross_entropy").result()
        steps.append((first.loss, second.loss, norm, after.loss))
    assert steps[0] == steps[1]


def test_of_adapters_on_one_base_each_has_the_base_as_its_reference():
    model = small_llama().eval().requires_grad_(False)
    base = SharedBase(LoadedBase("small", model, byte_tokenizer(), "digest"), 64)
    one, two = base.adapter(LORA, 0), base.adapter(LORA, 1)
    for backend in (one, two):
        backend.forward_backward(batch(), "cross_entropy")
        backend.optim_step(AdamParams(learning_rate=0.1))
    own = [backend.forward(batch(), "cross_entropy").result().loss for backend in (one, two)]
    references = [backend.reference(batch()).result().loss for backend in (one, two)]
    assert references[0] == references[1] != own[0] != own[1]
    again = [backend.forward(batch(), "cross_entropy").result().loss for backend in (one, two)]
    assert again == own


def test_temperature_divides_the_logits_that_are_learnt_from():
    """Its gradient is that of a head which is colder by as much."""
    hot, scaled = trained_backend(), trained_backend()
    told = hot.forward_backward(batch(), "cross_entropy", {"temperature": 2.0}).result()
    head = cast(PreTrainedModel, scaled._model.get_base_model()).get_output_embeddings()
    assert head is not None
    head.register_forward_hook(lambda module, given, logits: logits / 2.0)
    same = scaled.forward_backward(batch(), "cross_entropy").result()
    assert told.loss == pytest.approx(same.loss, rel=1e-6)
    norms = [b.optim_step(AdamParams(learning_rate=0.0)).result().grad_norm for b in (hot, scaled)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
