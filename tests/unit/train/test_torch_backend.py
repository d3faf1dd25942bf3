"""The verbs in one process: exact gradients, LoRA targets, what is saved."""

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from small_base import byte_tokenizer, small_llama
from transformers import AutoModelForCausalLM

from actors.lm.adapter import adapter_digest, read_adapter
from actors.lm.base import LoadedBase, load_base
from actors.train.backend import AdamParams, Label
from actors.train.datum import Datum, normalised
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora, resolve_layers, resolve_targets
from configs.errors import UserError
from configs.sections import LoraConfig
from configs.sft import SftConfig

LORA = LoraConfig(rank=4, alpha=8)


def in_float64(lora: LoraConfig = LORA) -> peft.PeftModel:
    base = LoadedBase("small", small_llama(torch.float64), byte_tokenizer(), "digest")
    model = add_lora(base, lora, seed=3)
    torch.manual_seed(11)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # with B = 0 the gradient of A would be 0 whatever the code does
            parameter.data.normal_()
    return model.double()


def naive_loss(model: peft.PeftModel, datums: list[Datum]) -> torch.Tensor:
    """Row by row, all logits, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for datum in datums:
        logits = model(input_ids=torch.from_numpy(datum.token_ids)[None]).logits[0]
        targets = torch.from_numpy(datum.target_ids)
        chosen = F.log_softmax(logits, dim=-1)[torch.arange(len(targets)), targets]
        total = total - (chosen * torch.from_numpy(datum.weights).double()).sum()
    return total


def loss_of(backend: TorchBackend, batch: list[Datum]) -> float:
    return backend.forward_backward(batch, "cross_entropy").result().loss


def norm_of(backend: TorchBackend, adam: AdamParams) -> float | None:
    return backend.optim_step(adam).result().grad_norm


@pytest.mark.parametrize("micro_batch_tokens", [1, 64, 10_000])
def test_loss_and_gradients_are_those_of_the_naive_loss(
    datums: list[Datum], micro_batch_tokens: int
):
    batch = normalised(datums)
    model = in_float64()
    naive = naive_loss(model, batch)
    naive.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    fresh = in_float64()
    backend = TorchBackend(fresh, seed=0, micro_batch_tokens=micro_batch_tokens)
    loss = backend.forward_backward(batch, "cross_entropy").result().loss
    assert loss == pytest.approx(naive.item(), abs=1e-10)
    trained = {n: p.grad for n, p in fresh.named_parameters() if p.requires_grad}
    assert trained.keys() == expected.keys()
    for name, gradient in trained.items():
        assert gradient is not None
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-10)


def test_two_half_batches_add_up_and_a_step_clears(datums: list[Datum]):
    batch = normalised(datums)
    one = TorchBackend(in_float64(), seed=0, micro_batch_tokens=64)
    two = TorchBackend(in_float64(), seed=0, micro_batch_tokens=64)
    whole = loss_of(one, batch)
    halves = [loss_of(two, part) for part in (batch[:5], batch[5:])]
    assert sum(halves) == pytest.approx(whole)
    adam = AdamParams(learning_rate=0.0)
    assert norm_of(two, adam) == pytest.approx(norm_of(one, adam))
    assert norm_of(one, adam) == 0


def test_a_step_is_torchs_adamw_on_clipped_gradients(datums: list[Datum]):
    batch = normalised(datums)
    model = in_float64()
    naive_loss(model, batch).backward()
    parameters = [p for p in model.parameters() if p.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(parameters, 0.01)
    torch.optim.AdamW(parameters, lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01).step()
    fresh = in_float64()
    backend = TorchBackend(fresh, seed=0, micro_batch_tokens=64)
    backend.forward_backward(batch, "cross_entropy")
    adam = AdamParams(learning_rate=0.1, weight_decay=0.01, grad_clip_norm=0.01)
    assert norm_of(backend, adam) == pytest.approx(float(norm))
    for expected, got in zip(
        parameters, (p for p in fresh.parameters() if p.requires_grad), strict=True
    ):
        torch.testing.assert_close(got.data, expected.data, rtol=0, atol=1e-10)


def test_dropout_is_on_and_repeats_at_the_same_step(datums: list[Datum]):
    lora = LoraConfig(rank=4, alpha=8, dropout=0.5)
    batch = normalised(datums)
    backend = TorchBackend(in_float64(lora), seed=0, micro_batch_tokens=64)
    first = loss_of(backend, batch)
    assert loss_of(backend, batch) != first
    again = TorchBackend(in_float64(lora), seed=0, micro_batch_tokens=64)
    assert loss_of(again, batch) == first


def test_dropout_differs_from_step_to_step(datums: list[Datum]):
    batch = normalised(datums)
    backend = TorchBackend(
        in_float64(LoraConfig(rank=4, alpha=8, dropout=0.5)), seed=0, micro_batch_tokens=64
    )
    losses = []
    for _ in range(2):
        losses.append(loss_of(backend, batch))
        backend.optim_step(AdamParams(learning_rate=0.0))
    assert losses[0] != losses[1]


def test_all_linear_is_every_linear_layer_but_the_head():
    assert resolve_targets(small_llama(), "all-linear") == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip


def test_unknown_targets_are_told_with_the_names_that_exist():
    with pytest.raises(UserError, match=r"down_proj, gate_proj.*\"q_prj\".*mean \"q_proj\""):
        resolve_targets(small_llama(), ["v_proj", "q_prj"])


def test_a_new_adapter_changes_nothing_and_comes_from_the_seed(small_base: str):
    plain = load_base(small_base)
    ids = torch.arange(8)[None]
    logits = plain.model(ids).logits
    models = [add_lora(load_base(small_base), LORA, seed) for seed in (1, 1, 2)]
    torch.testing.assert_close(models[0](ids).logits, logits, rtol=0, atol=1e-6)
    a, b, c = (peft.get_peft_model_state_dict(model) for model in models)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_saved_adapter_gives_the_same_logits_in_plain_peft(
    sft_config: Callable[..., SftConfig], train_here: Callable[..., object], tmp_path: Path
):
    config = sft_config(epochs=1)
    train_here(config, tmp_path)
    folder = tmp_path / "checkpoints" / "step-000003"
    ids = torch.arange(40)[None]
    ours = add_lora(load_base(config.base_model), config.lora, seed=9)
    TorchBackend(ours, seed=0, micro_batch_tokens=64).load(str(folder))
    base = AutoModelForCausalLM.from_pretrained(config.base_model)
    theirs = peft.PeftModel.from_pretrained(base, str(folder)).eval()
    torch.testing.assert_close(theirs(ids).logits, ours(ids).logits, rtol=0, atol=1e-5)
    with theirs.disable_adapter():
        assert not torch.allclose(theirs(ids).logits, ours(ids).logits, atol=1e-3)


def test_a_checkpoint_knows_where_it_comes_from(
    sft_config: Callable[..., SftConfig], train_here: Callable[..., object], tmp_path: Path
):
    config = sft_config(epochs=1)
    train_here(config, tmp_path)
    adapter = read_adapter(str(tmp_path / "checkpoints" / "step-000002"))
    assert adapter.manifest is not None
    assert (adapter.manifest.name, adapter.manifest.version, adapter.manifest.step) == ("run", 1, 2)
    assert adapter.manifest.base_model == adapter.base_model == config.base_model
    assert adapter.manifest.digest == adapter.digest


def test_another_base_and_another_lora_are_refused(datums: list[Datum], tmp_path: Path):
    TorchBackend(in_float64(), seed=0, micro_batch_tokens=64).save(
        str(tmp_path), Label("run", 1, 0)
    )
    base = LoadedBase("other", small_llama(torch.float64), byte_tokenizer(), "digest")
    other = TorchBackend(add_lora(base, LORA, seed=0), seed=0, micro_batch_tokens=64)
    with pytest.raises(UserError, match="trained on small, not on other"):
        other.load(str(tmp_path))
    wider = in_float64(LoraConfig(rank=8, alpha=8))
    with pytest.raises(UserError, match="saved with another LoRA"):
        TorchBackend(wider, seed=0, micro_batch_tokens=64).load(str(tmp_path))


def test_only_the_layers_that_are_named_are_adapted_and_scaled_as_told():
    lora = LoraConfig(rank=4, alpha=8, rslora=True, layers=[1], targets=["q_proj", "up_proj"])
    model = in_float64(lora)
    adapted = {n.split(".lora_")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert {name.split("layers.")[1] for name in adapted} == {"1.self_attn.q_proj", "1.mlp.up_proj"}
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    scales = [layer.scaling["default"] for layer in layers]
    assert scales == [8 / 4**0.5] * 2


@pytest.mark.parametrize("layers", [[2], [0, -1], []])
def test_unknown_layers_are_told_with_the_ones_that_exist(layers: list[int]):
    with pytest.raises(UserError, match=r"lora.layers: the layers of this model are 0 to 1"):
        resolve_layers(small_llama(), layers)


def test_a_snapshot_does_not_follow_later_steps(datums: list[Datum]):
    backend = TorchBackend(in_float64(), seed=0, micro_batch_tokens=64)
    before = backend.snapshot(Label("run", 1, 0))
    digest = before.digest
    loss_of(backend, normalised(datums))
    backend.optim_step(AdamParams(learning_rate=0.1))
    after = backend.snapshot(Label("run", 2, 1))
    assert adapter_digest(before.config, before.tensors) == digest != after.digest


def test_weights_alone_can_be_taken_and_another_lora_is_refused(
    datums: list[Datum], tmp_path: Path
):
    batch, adam = normalised(datums), AdamParams(learning_rate=0.1)
    trained = TorchBackend(in_float64(), seed=0, micro_batch_tokens=64)
    loss_of(trained, batch)
    trained.optim_step(adam)
    assert trained.save(str(tmp_path), Label("run", 1, 1)) == str(tmp_path)
    fresh = [TorchBackend(in_float64(), seed=0, micro_batch_tokens=64) for _ in range(2)]
    fresh[0].load(str(tmp_path))
    fresh[1].load(str(tmp_path), with_optimizer=False)
    assert len({loss_of(backend, batch) for backend in (trained, *fresh)}) == 1
    for backend in (trained, *fresh):
        backend.optim_step(adam)
    digests = [b.snapshot(Label("run", 2, 2)).digest for b in (trained, *fresh)]
    assert digests[0] == digests[1] != digests[2]
    # One that has trained forgets its moments and its step, and is then like a fresh one.
    trained.load(str(tmp_path), with_optimizer=False)
    loss_of(trained, batch)
    trained.optim_step(adam)
    assert trained.snapshot(Label("run", 2, 2)).digest == digests[2]
    wider = TorchBackend(in_float64(LoraConfig(rank=8)), seed=0, micro_batch_tokens=64)
    with pytest.raises(UserError, match="saved with another LoRA"):
        wider.load(str(tmp_path), with_optimizer=False)
