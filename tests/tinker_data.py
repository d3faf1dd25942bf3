"""Batches for Tinker's SDK, and what a few of its calls give."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tinker
from tinker import types

STILL = types.AdamParams(learning_rate=0.0)


def datum(tokens: Sequence[int], **inputs: Any) -> types.Datum:
    """A row that is to say each next token; weights are 1 unless given."""
    given: dict[str, Any] = {"target_tokens": list(tokens[1:]), **inputs}
    if "advantages" not in given:
        given.setdefault("weights", [1.0] * (len(tokens) - 1))
    prompt = types.ModelInput.from_ints(list(tokens[:-1]))
    return types.Datum(model_input=prompt, loss_fn_inputs=given)


def rows(count: int, tokens: int, seed: int = 0) -> list[types.Datum]:
    """Random rows of up to so many tokens."""
    draw = np.random.default_rng(seed)
    return [
        datum(draw.integers(0, 256, draw.integers(2, tokens) + 1).tolist()) for _ in range(count)
    ]


def logprobs(output: types.ForwardBackwardOutput) -> list[list[float]]:
    """Of each row."""
    return [one["logprobs"].to_numpy().tolist() for one in output.loss_fn_outputs]


def train(client: tinker.TrainingClient, steps: int, seed: int) -> list[tuple[float, float]]:
    """Loss and gradient norm of each step, each asked for before the one before it is there."""
    asked = [
        (
            client.forward_backward(rows(4, 24, seed + step), "cross_entropy"),
            client.optim_step(types.AdamParams(learning_rate=1e-2)),
        )
        for step in range(steps)
    ]
    return [(passed.result().metrics["loss:sum"], norm(stepped)) for passed, stepped in asked]


def norm(stepped: Any) -> float:
    """The gradient's norm that a step met."""
    return stepped.result().metrics["unclipped_grad_l2:mean"]
