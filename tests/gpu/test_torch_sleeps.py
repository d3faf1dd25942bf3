"""The torch engine lends its GPU to a trainer and takes it back."""

import asyncio
from pathlib import Path

import torch
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import read_adapter
from actors.lm.requests import SampleRequest
from configs.sections import ServerConfig
from serve.engines.torch import start_torch_engine


def test_asleep_it_holds_next_to_nothing_and_awake_it_answers_as_before(tmp_path: Path) -> None:
    base = write_small_base(tmp_path / "base")
    adapter = read_adapter(write_small_adapter(tmp_path / "adapter", base, 0))
    server = ServerConfig(device="cuda", max_adapters=2, cache_tokens=2_000_000)
    request = SampleRequest("one@1", [5, 6, 7] * 50, max_tokens=16, temperature=0)

    async def main() -> None:
        engine = start_torch_engine(base, server)
        try:
            await engine.load("one@1", adapter)
            before = await engine.sample([request])
            awake = torch.cuda.memory_reserved()
            await engine.sleep()
            assert torch.cuda.memory_reserved() < awake / 10
            await engine.wake()
            assert await engine.sample([request]) == before
        finally:
            await engine.close()

    asyncio.run(main())
