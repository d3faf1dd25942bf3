"""Our datums, settings and results in the SDK's types, and back. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import tinker

from actors.train.backend import AdamParams, Passed, Stepped
from actors.train.datum import Datum

_LOSS = "loss:sum"
_GRAD_NORM = "unclipped_grad_l2:mean"


def service_datum(datum: Datum) -> tinker.Datum:
    """A datum with the arrays that it has, under Tinker's names."""
    arrays: dict[str, Any] = {
        "target_tokens": datum.target_ids.astype(np.int64),
        "weights": datum.weights,
        "logprobs": datum.logprobs,
        "advantages": datum.advantages,
    }
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(datum.token_ids.tolist()),
        loss_fn_inputs={
            name: tinker.TensorData.from_numpy(np.ascontiguousarray(array))
            for name, array in arrays.items()
            if array is not None
        },
    )


def service_adam(adam: AdamParams) -> tinker.AdamParams:
    """The same fields: ours are named after them."""
    return tinker.AdamParams(**asdict(adam))


def passed(output: tinker.ForwardBackwardOutput) -> Passed:
    """Loss and log-probabilities of a pass; the service's other metrics as they are named."""
    metrics = dict(output.metrics)
    logprobs = [
        found["logprobs"].to_numpy().astype(np.float32).reshape(-1)
        for found in output.loss_fn_outputs
    ]
    return Passed(metrics.pop(_LOSS), logprobs, metrics)


def stepped(response: tinker.OptimStepResponse) -> Stepped:
    """The gradient's norm, where the service tells it."""
    return Stepped((response.metrics or {}).get(_GRAD_NORM))


def service_datums(datums: Sequence[Datum]) -> list[tinker.Datum]:
    """A batch."""
    return [service_datum(datum) for datum in datums]
