"""Losses that a caller writes have the gradients that autograd gives through the model."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from small_base import byte_tokenizer, small_llama
from torch import Tensor

from actors.lm.base import LoadedBase
from actors.train.backend import AdamParams
from actors.train.custom_loss import forward_backward_custom
from actors.train.datum import Datum
from actors.train.on_torch.shared_base import SharedBase
from configs.sections import LoraConfig

MASKED = np.array([0, 1, 0.5, 0, 1], np.float32)


def backend():
    model = small_llama().eval().requires_grad_(False)
    base = LoadedBase("small", model, byte_tokenizer(), "digest")
    return SharedBase(base, 64).adapter(LoraConfig(rank=4, alpha=8), 0)


def batch(weights: np.ndarray | None = MASKED) -> list[Datum]:
    ids = np.random.default_rng(0).integers(0, 262, (3, 6))
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


def test_what_is_no_loss_is_refused():
    with pytest.raises(ValueError, match="a scalar computed from the log-probabilities"):
        forward_backward_custom(backend(), batch(), lambda *_: (torch.zeros(()), {}))
    with pytest.raises(ValueError, match="a scalar computed from the log-probabilities"):
        forward_backward_custom(backend(), batch(), lambda _, logprobs: (logprobs[0], {}))
