"""Short ways to ask an engine, for the tests of the vllm engine."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from looped_engine import LoopedEngine

from actors.lm.adapter import Adapter
from actors.lm.requests import SampleRequest
from serve.engines.vllm.engine import VllmEngine

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The work's result, on a loop of its own."""

    async def timed() -> T:
        return await asyncio.wait_for(work, 120)

    return asyncio.run(timed())


async def greedy(engine: LoopedEngine, name: str, prompt: Sequence[int]) -> list[int]:
    """The likeliest 8 tokens."""
    [sample] = await engine.sample([SampleRequest(name, prompt, max_tokens=8, temperature=0)])
    return sample.token_ids


async def load_all(engine: LoopedEngine, adapters: Mapping[str, Adapter]) -> None:
    """Load them under their names."""
    for name, adapter in adapters.items():
        assert await engine.load(name, adapter) == adapter.digest


def inside(engine: LoopedEngine) -> VllmEngine:
    """The engine itself; its coroutines belong to its own loop (`LoopedEngine.there`)."""
    return cast(VllmEngine, engine.engine)
