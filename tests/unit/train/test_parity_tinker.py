"""The same datums on torch here and through Tinker's SDK and our front: the same numbers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import small_config, train_in_process
from tinker_front import Opened

from actors.lm.adapter import read_adapter
from actors.lm.base import load_base
from actors.train.backend import AdamParams, Label, TrainingBackend
from actors.train.checkpoint import saved_checkpoints
from actors.train.custom_loss import forward_backward_custom
from actors.train.datum import Datum
from actors.train.losses import LossName
from actors.train.on_tinker.backend import TinkerBackend
from actors.train.on_tinker.lora import service_lora
from actors.train.on_tinker.service import Service, open_service
from actors.train.on_tinker.trainer import train_on_tinker
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.shared_base import SharedBase
from actors.train.sft_loop import SftData
from configs.sections import LoraConfig

RANK, SEED = 4, 3
ADAM = AdamParams(learning_rate=1e-2, grad_clip_norm=1.0, weight_decay=0.01)


@pytest.fixture
def service(to_front: None) -> Iterator[Service]:
    with open_service() as opened:
        yield opened


@pytest.fixture
def there(service: Service, small_base: str) -> TinkerBackend:
    lora = service_lora(small_config(small_base, lora={"rank": RANK, "alpha": 32}))
    return TinkerBackend(service, small_base, lora, SEED, patience_s=60)


@pytest.fixture
def here(small_base: str) -> TorchBackend:
    return SharedBase(load_base(small_base), 4096).adapter(LoraConfig(rank=RANK, alpha=32), SEED)


def sampled(datums: list[Datum]) -> list[Datum]:
    """Datums for the losses of reinforcement learning."""
    draws = np.random.default_rng(0)
    return [
        replace(
            datum,
            weights=None,
            logprobs=draws.normal(-5.5, 0.3, len(datum)).astype(np.float32),
            advantages=draws.normal(size=len(datum)).astype(np.float32),
        )
        for datum in datums
    ]


@pytest.mark.parametrize(
    ("loss", "loss_config"),
    [
        ("cross_entropy", None),
        ("importance_sampling", None),
        ("ppo", {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}),
        ("cispo", None),
    ],
)
def test_losses_steps_and_adapters_agree(
    here: TorchBackend,
    there: TinkerBackend,
    datums: list[Datum],
    loss: LossName,
    loss_config: dict[str, float] | None,
    tmp_path: Path,
):
    batch = list(datums) if loss == "cross_entropy" else sampled(datums)
    for _ in range(3):
        told = []
        for backend in (here, there):
            passing = backend.forward_backward(batch, loss, loss_config)
            stepping = backend.optim_step(ADAM)
            told.append((passing.result(), stepping.result()))
        (ours, our_step), (theirs, their_step) = told
        assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
        assert their_step.grad_norm == pytest.approx(our_step.grad_norm, rel=1e-4)
        for datum, one, other in zip(batch, ours.logprobs, theirs.logprobs, strict=True):
            at = datum.taught(loss)
            np.testing.assert_allclose(one[at], other[at], atol=1e-4)
    label = Label("parity", 1, 3)
    mine, found = here.snapshot(label), read_adapter(there.save(str(tmp_path), label))
    assert mine.config == found.config
    for name, tensor in mine.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, atol=1e-5, rtol=1e-4)


def test_the_base_is_asked_beside_the_adapter(
    here: TorchBackend, there: TinkerBackend, datums: list[Datum]
):
    told = []
    for backend in (here, there):
        backend.forward_backward(datums, "cross_entropy").result()
        backend.optim_step(ADAM).result()
        told.append(backend.reference(datums).result())
    ours, theirs = told
    assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
    for one, other in zip(ours.logprobs, theirs.logprobs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    with pytest.raises(ValueError, match="temperature 1"):
        there.reference(datums, {"temperature": 0.5})
    shuffled = replace(datums[0], target_ids=datums[0].target_ids[::-1].copy())
    with pytest.raises(ValueError, match="tokens that follow"):
        there.reference([shuffled])


def test_many_rows_are_measured_in_parts(
    there: TinkerBackend, datums: list[Datum], front: Opened, monkeypatch
):
    whole = there.forward(datums, "cross_entropy").result()
    monkeypatch.setattr("actors.train.on_tinker.backend._PART_ROWS", 4)
    asked = []
    begin = front.front.futures.begin
    monkeypatch.setattr(
        front.front.futures, "begin", lambda id, work: (asked.append(id), begin(id, work))
    )
    parts = there.forward(datums, "cross_entropy").result()
    assert len(datums) == 10
    assert len(asked) == 3
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    for one, other in zip(parts.logprobs, whole.logprobs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_custom_loss_agrees(here: TrainingBackend, there: TinkerBackend, datums: list[Datum]):
    def squares(batch, logprobs):
        return torch.cat(logprobs).square().sum() / 100, {"rows": float(len(batch))}

    norms = []
    for backend in (here, there):
        passed = forward_backward_custom(backend, datums, squares).result()
        norms.append((passed.loss, backend.optim_step(ADAM).result().grad_norm))
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_a_run_on_either_backend_ends_with_the_same_adapter(
    service: Service, small_base: str, datums: list[Datum], tmp_path: Path
):
    config = small_config(small_base, lora={"rank": RANK, "alpha": 32}, validation_share=0.1)
    data, held_out = datums[:8], datums[8:]
    ours = train_in_process(config, data, tmp_path / "here", validation=held_out)
    theirs: list = []
    saved = train_on_tinker(
        config.model_copy(update={"backend": "tinker"}),
        SftData(data, held_out),
        run_id="run",
        folder=str(tmp_path / "there"),
        on_step=theirs.append,
    )
    assert [m.loss for m in theirs] == pytest.approx([m.loss for m in ours], rel=1e-5)
    losses = [[m.validation_loss for m in steps if m.validation_loss] for steps in (ours, theirs)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert [m.target_tokens for m in theirs] == [m.target_tokens for m in ours]
    expected = saved_checkpoints(str(tmp_path / "here"))
    assert [(c.step, c.version) for c in saved] == [(c.step, c.version) for c in expected]
    for one, other in zip(expected, saved, strict=True):
        mine, found = read_adapter(one.path), read_adapter(other.path)
        assert mine.config == found.config
        assert found.digest == other.digest
        for name, tensor in mine.tensors.items():
            torch.testing.assert_close(found.tensors[name], tensor, atol=1e-5, rtol=1e-4)
