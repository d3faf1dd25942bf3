"""Losses that a caller writes have the gradients that autograd gives through the model."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_base import byte_tokenizer, small_llama
from torch import Tensor

from actors.lm.base import LoadedBase
from actors.train.backend import AdamParams
from actors.train.custom_loss import forward_backward_custom
from actors.train.datum import Datum
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora
from actors.train.on_torch.shared_base import SharedBase
from configs.sections import LoraConfig

LORA = LoraConfig(rank=4, alpha=8)
MASKED = np.array([0, 1, 0.5, 0, 1], np.float32)


def backend():
    model = small_llama().eval().requires_grad_(False)
    base = LoadedBase("small", model, byte_tokenizer(), "digest")
    return SharedBase(base, 64).adapter(LORA, 0)


def batch(
    weights: np.ndarray | None = MASKED, rows: int = 3, length: int = 5, seed: int = 0
) -> list[Datum]:
    ids = np.random.default_rng(seed).integers(0, 262, (rows, length + 1))
    return [Datum(row[:-1], row[1:], weights) for row in ids]


def grad_norm(trained: object) -> float:
    return trained.optim_step(AdamParams(learning_rate=0.0)).result().grad_norm  # type: ignore


def surprise(datums: Sequence[Datum], logprobs: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy, as a caller would write it."""
    loss = torch.zeros(())
    for datum, told in zip(datums, logprobs, strict=True):
        assert datum.weights is not None
        loss = loss - (told * torch.from_numpy(datum.weights)).sum()
    return loss, {"rows": float(len(datums))}


def tangled(datums: Sequence[Datum], logprobs: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
    """No sum over tokens or rows, and another thing for each of them."""
    parts = [
        (told.exp() * torch.arange(1, len(told) + 1)).sum() * told[0] * place
        for place, told in enumerate(logprobs, start=1)
    ]
    return torch.stack(parts).square().sum() + parts[0] * parts[-1], {}


def test_every_gradient_is_that_of_autograd_through_all_logits():
    torch.manual_seed(11)
    small = small_llama(torch.float64).eval().requires_grad_(False)
    model = add_lora(LoadedBase("small", small, byte_tokenizer(), "digest"), LORA, seed=0).double()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():  # with B = 0 the gradient of A is 0 whatever the code does
        parameter.data.normal_(std=0.3)
    datums = [*batch(), *batch(None, length=9), *batch(None, rows=2, seed=1)]
    backend = TorchBackend(model, seed=0, micro_batch_tokens=12)
    passed = forward_backward_custom(backend, datums, tangled).result()
    found = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
    model.zero_grad()
    whole = [
        F.log_softmax(model(input_ids=torch.from_numpy(d.token_ids)[None]).logits[0], dim=-1)[
            torch.arange(len(d)), torch.from_numpy(d.target_ids)
        ]
        for d in datums
    ]
    loss, _ = tangled(datums, whole)
    loss.backward()
    assert passed.loss == pytest.approx(loss.item(), abs=1e-10)
    assert found.keys() == trained.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, trained[name].grad, rtol=0, atol=1e-10)


def test_a_custom_cross_entropy_is_cross_entropy():
    plain, custom = backend(), backend()
    expected = plain.forward_backward(batch(), "cross_entropy").result()
    passed = forward_backward_custom(custom, batch(), surprise).result()
    assert passed.loss == pytest.approx(expected.loss, rel=1e-6)
    assert passed.metrics == {"rows": 3.0}
    assert grad_norm(custom) == pytest.approx(grad_norm(plain), rel=1e-6)


def test_gradients_scale_with_the_loss_and_forget_its_sign():
    norms = []
    for factor in (-1.0, -2.0, 1.0):
        trained = backend()

        def total(_: object, logprobs: list[Tensor], factor: float = factor):
            return factor * torch.cat(logprobs).sum(), {}

        forward_backward_custom(trained, batch(weights=None), total)
        norms.append(grad_norm(trained))
    assert norms == pytest.approx([norms[0], 2 * norms[0], norms[0]], rel=1e-6)


def test_a_loss_across_rows_moves_them_down_its_slope():
    """A squared sum over two rows is no sum over tokens."""

    def gap(_: object, logprobs: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
        return (logprobs[0].sum() - logprobs[1].sum() - 9).square(), {}

    trained, losses = backend(), []
    for _ in range(4):
        losses.append(forward_backward_custom(trained, batch(None), gap).result().loss)
        trained.optim_step(AdamParams(learning_rate=1e-3))
    assert losses == sorted(losses, reverse=True)


def test_what_is_masked_is_told_to_the_caller_and_learnt_only_if_the_loss_says_so():
    def first_token(_: object, logprobs: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
        assert all((told.detach() < 0).all() for told in logprobs)
        return -logprobs[0][0], {}

    trained = backend()
    forward_backward_custom(trained, batch(), first_token)
    assert grad_norm(trained) > 0  # its weight is 0 in the datum


def test_a_loss_that_looks_at_what_is_weighted_costs_and_learns_no_more_than_that():
    def surprises(datums: Sequence[Datum], logprobs: list[Tensor]):
        for datum, told in zip(datums, logprobs, strict=True):
            assert datum.weights is not None
            assert ((told != 0).numpy() == (datum.weights != 0)).all()
        return surprise(datums, logprobs)

    whole, part = backend(), backend()
    expected = forward_backward_custom(whole, batch(), surprise).result()
    passed = forward_backward_custom(part, batch(), surprises, weighted_only=True).result()
    assert passed.loss == pytest.approx(expected.loss, rel=1e-6)
    assert grad_norm(part) == pytest.approx(grad_norm(whole), rel=1e-6)


def test_what_is_no_loss_is_refused():
    with pytest.raises(ValueError, match="a scalar computed from the log-probabilities"):
        forward_backward_custom(backend(), batch(), lambda *_: (torch.zeros(()), {}))
    with pytest.raises(ValueError, match="a scalar computed from the log-probabilities"):
        forward_backward_custom(backend(), batch(), lambda _, logprobs: (logprobs[0], {}))
