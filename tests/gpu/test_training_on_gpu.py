"""The core of training on a GPU: bfloat16, documents by flash attention, bases in 4 bits."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from small_base import write_small_base
from small_training import small_config, small_datums

from actors.train.backend import AdamParams, Label
from actors.train.datum import normalised
from actors.train.on_torch import documents
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.dropout import pass_key
from actors.train.on_torch.start import start_backend
from configs.sft import SftConfig

GPU = torch.device("cuda")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> partial[SftConfig]:
    base = write_small_base(tmp_path_factory.mktemp("base"), head_width=64)
    return partial(small_config, base, dtype="bfloat16")


def losses(backend: TorchBackend, steps: int) -> list[float]:
    batch, told = normalised(small_datums(9)), []
    for _ in range(steps):
        told.append(backend.forward_backward(batch, "cross_entropy").result().loss)
        backend.optim_step(AdamParams(learning_rate=1e-2, grad_clip_norm=1.0))
    return told


def dropout_layer(backend: TorchBackend) -> torch.nn.Module:
    """That of a layer of width 32."""
    modules = dict(backend._model.named_modules())
    return next(m for name, m in modules.items() if name.endswith("q_proj.lora_dropout.default"))


@pytest.mark.parametrize("again", [False, True])
def test_bfloat16_on_a_gpu_learns_what_float32_does_on_a_cpu(
    config: partial[SftConfig], again: bool
) -> None:
    exact = losses(start_backend(config(dtype="float32"), torch.device("cpu")), 5)
    told = losses(start_backend(config(gradient_checkpointing=again), GPU), 5)
    assert told == pytest.approx(exact, rel=0.03)
    assert told[-1] < told[0] - 0.1


def test_flash_attention_sees_each_document_alone(
    config: partial[SftConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    if documents.varlen_attn is None:
        pytest.skip("this torch has no attention over documents")
    batch = normalised(small_datums(9))
    together = start_backend(config(), GPU).forward(batch, "cross_entropy").result()
    monkeypatch.setattr(documents, "varlen_attn", None)
    plain = start_backend(config(), GPU).forward(batch, "cross_entropy").result()
    for one, other in zip(together.logprobs, plain.logprobs, strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)


def test_a_gpu_drops_out_what_a_cpu_does(config: partial[SftConfig]) -> None:
    lora = {"rank": 4, "alpha": 8, "dropout": 0.3}
    kept = []
    for device in (torch.device("cpu"), GPU):
        backend = start_backend(config(lora=lora), device)
        dropout, layer = backend._passes._dropout, dropout_layer(backend)
        with dropout.of(pass_key(1, 2, 3), torch.arange(500, device=device)):
            kept.append(layer(torch.ones(500, 32, device=device)).cpu() != 0)
    assert torch.equal(*kept)


def test_a_base_in_four_bits_learns(config: partial[SftConfig], tmp_path: Path) -> None:
    if find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed here")
    backend = start_backend(config(quantization="nf4"), GPU)
    told = losses(backend, 5)
    assert told[-1] < told[0] - 0.1
    backend.save(str(tmp_path), Label("run", 1, 5))
    again = start_backend(config(quantization="nf4"), GPU)
    again.load(str(tmp_path))
    assert losses(again, 1) == pytest.approx(losses(backend, 1), rel=0.01)
