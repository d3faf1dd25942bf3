"""What the torch engine adds to the contract: its batches fail, and are left, without harm."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import torch

from actors.lm.adapter import Adapter
from actors.lm.base import load_base
from actors.lm.refusals import RefusedAdapter
from actors.lm.requests import SampleRequest
from actors.lm.sampling.row import Row
from serve.engines import torch as torch_engine
from serve.engines.torch import TorchEngine


@pytest.fixture
def engine(base_directory: str) -> TorchEngine:
    return TorchEngine(load_base(base_directory), max_adapters=2, max_batch=4, threads=1)


def _fails(*_: Any) -> None:
    raise torch.OutOfMemoryError("out of memory")


def test_a_batch_that_fails_reaches_its_callers_and_the_next_one_runs(base_directory: str) -> None:
    base = load_base(base_directory)
    engine = TorchEngine(base, max_adapters=1, max_batch=4, threads=1)
    request = SampleRequest("base", [5], max_tokens=2)

    async def main() -> None:
        hook = base.model.register_forward_pre_hook(_fails)
        calls = [engine.sample([request, request]) for _ in range(3)]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
        assert [type(outcome) for outcome in outcomes] == [torch.OutOfMemoryError] * 3
        hook.remove()
        [sample] = await asyncio.wait_for(engine.sample([request]), 60)
        assert sample.token_ids

    asyncio.run(main())


def test_two_loads_of_one_name_at_once_agree_on_its_content(
    engine: TorchEngine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        loads = [engine.load("same@1", adapter) for adapter in adapters.values()]
        first, second = await asyncio.gather(*loads, return_exceptions=True)
        assert engine.adapters()["same@1"] == first
        assert isinstance(second, RefusedAdapter)

    asyncio.run(main())


def test_a_cancelled_call_leaves_its_batch(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.limits = replace(engine.limits, end_ids=frozenset())
    seen: list[Row] = []
    run = torch_engine.generate

    def watched(bank: Any, rows: Any) -> Any:
        seen.extend(rows)
        return run(bank, rows)

    monkeypatch.setattr(torch_engine, "generate", watched)

    async def main() -> None:
        request = SampleRequest("base", [5], max_tokens=500)
        leaving = asyncio.create_task(engine.sample([request] * 4))
        while not (seen and seen[0].token_ids):
            await asyncio.sleep(0.001)
        leaving.cancel()
        await engine.sample([SampleRequest("base", [5], max_tokens=2)])
        assert all(row.abandoned and len(row.token_ids) < 500 for row in seen[:4])

    asyncio.run(asyncio.wait_for(main(), 60))
