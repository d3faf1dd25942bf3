"""Short ways to ask any engine, and what it is held to, for the contract suite."""

import asyncio
import os
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.requests import SampleRequest, TokenLogprob

# `make test-vllm` runs the contract suite on the other one.
ENGINE = os.environ.get("HOTHOUSE_TEST_ENGINE", "torch")
DEVICE = os.environ.get("HOTHOUSE_TEST_DEVICE", "cpu")

# How far a log-probability may be from that of one plain forward pass in float32.
NEAR = 1e-4 if ENGINE == "torch" and DEVICE == "cpu" else 2e-3

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The work's result, on a loop of its own; what hangs fails."""

    async def timed() -> T:
        return await asyncio.wait_for(work, 120)

    return asyncio.run(timed())


async def load_all(engine: Engine, adapters: Mapping[str, Adapter]) -> None:
    """Load them under their names."""
    for name, adapter in adapters.items():
        assert await engine.load(name, adapter) == adapter.digest


def mixed(names: Sequence[str], count: int, **fields: Any) -> list[SampleRequest]:
    """Requests of different adapters and lengths, the same ones every time."""
    rng = random.Random(1)
    return [
        SampleRequest(
            adapter=names[i % len(names)],
            prompt_ids=[rng.randrange(5, 250) for _ in range(rng.randint(1, 20))],
            max_tokens=rng.randint(1, 16),
            **fields,
        )
        for i in range(count)
    ]


@torch.inference_mode()
def plain_logprobs(model: Any, ids: Sequence[int]) -> Tensor:
    """Log-probabilities [T, V] of what follows each token, by one forward pass of the model."""
    return model(input_ids=torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)


def assert_tells(told: TokenLogprob | None, own: Tensor, token: int, likeliest: int) -> None:
    """What an engine told of a token is what a distribution [V] says."""
    assert told is not None
    assert abs(told.logprob - own[token].item()) < NEAR
    assert len(told.likeliest) == likeliest
    best = own.topk(likeliest).values.tolist() if likeliest else []
    for (named, value), want in zip(told.likeliest, best, strict=True):
        assert abs(value - want) < NEAR
        assert abs(own[named].item() - want) < NEAR  # near ties may change places
