"""The vllm engine lends its GPU to a trainer and takes it back."""

import asyncio
from pathlib import Path

import pytest
import torch
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import read_adapter
from actors.lm.requests import SampleRequest
from configs.sections import ServerConfig
from serve.engines.vllm.start import start_vllm_engine


def test_asleep_it_holds_next_to_nothing_and_awake_it_answers_as_before(tmp_path: Path) -> None:
    pytest.importorskip("vllm.v1.engine.async_llm", reason="vllm is not installed here")
    base = write_small_base(tmp_path / "base", head_width=64)
    adapter = read_adapter(write_small_adapter(tmp_path / "adapter", base, 0))
    server = ServerConfig(engine="vllm", device="cuda", max_adapters=2, cache_tokens=1_000_000)
    request = SampleRequest("one@1", [5, 6, 7] * 50, max_tokens=16, temperature=0)

    async def main() -> None:
        engine = start_vllm_engine(base, server)
        try:
            await engine.load("one@1", adapter)
            before = await engine.sample([request])
            free_awake, _ = torch.cuda.mem_get_info()
            await engine.sleep()
            free_asleep, _ = torch.cuda.mem_get_info()
            assert free_asleep - free_awake > 10**9  # the cache alone takes 2 GB
            await engine.wake()
            assert await engine.sample([request]) == before
        finally:
            await engine.close()

    asyncio.run(main())
