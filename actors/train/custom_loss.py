"""Losses that a caller writes, on any backend, with exact gradients.

The gradient of L(logprobs) with respect to the weights is that of the sum of c * logprob with
c = dL/dlogprob held fixed. So one pass finds the log-probabilities, the caller's function is
differentiated here, and a second pass learns from cross-entropy with the weights -c. Tinker's SDK
does the same. It is exact where both passes see the same model, without LoRA dropout, and in the
precision in which the log-probabilities are told: float64 for a model in it, else float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actors.train.backend import Done, Passed, TrainingBackend
from actors.train.datum import Datum

# (datums, log-probabilities [T] of each one's targets, all positions) -> (a scalar, metrics)
CustomLoss = Callable[[Sequence[Datum], list[Tensor]], tuple[Tensor, dict[str, float]]]


def forward_backward_custom(
    backend: TrainingBackend,
    datums: Sequence[Datum],
    custom_loss: CustomLoss,
    pass_config: Mapping[str, float] | None = None,
    *,
    weighted_only: bool = False,
) -> Done[Passed]:
    """Add the gradients of a custom loss of a batch; ValueError when it is no scalar of them.

    `pass_config` goes to both passes: their temperature. `weighted_only`: the loss looks at no
    position whose weight is 0, and none is computed there; its log-probability is told as 0.
    """
    looked_at = [replace(datum, weights=_looks(datum, weighted_only)) for datum in datums]
    passed = backend.forward(looked_at, "cross_entropy", pass_config).result()
    logprobs = [torch.tensor(values, requires_grad=True) for values in passed.logprobs]
    loss, metrics = custom_loss(datums, logprobs)
    if loss.shape or not loss.requires_grad:
        raise ValueError("a custom loss must be a scalar computed from the log-probabilities")
    slopes = torch.autograd.grad(loss, logprobs, allow_unused=True, materialize_grads=True)
    surrogate = [
        replace(datum, weights=-slope.numpy()) for datum, slope in zip(datums, slopes, strict=True)
    ]
    backend.forward_backward(surrogate, "cross_entropy", pass_config).result()
    return Done(Passed(loss.item(), passed.logprobs, metrics))


def _looks(datum: Datum, weighted_only: bool) -> NDArray[np.float32]:
    """[T], 1 where the loss looks."""
    looks = datum.taught("cross_entropy") if weighted_only else np.ones(len(datum))
    return looks.astype(np.float32)
