"""kill -9 of replicas in the middle of 200 requests: none is lost, none is answered twice."""

import asyncio
import socket
from pathlib import Path

import openai
import pytest
from serve_processes import replica_processes
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import read_adapter
from configs.sections import ServerConfig
from serve.launch import http_server
from serve.openai.keys import Keys
from serve.shelf import Holdings

REQUESTS, NAMES = 200, ("one", "two", "base")


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("ray_cluster")
def test_killed_replicas_lose_and_double_nothing(tmp_path: Path) -> None:
    base = write_small_base(tmp_path / "base")
    adapters = {
        name: read_adapter(write_small_adapter(tmp_path / name, base, seed))
        for seed, name in enumerate(("one", "two"))
    }
    server = ServerConfig(device="cpu", max_adapters=2, max_batch=8, num_replicas=2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with http_server(
        base,
        adapters,
        server,
        host="127.0.0.1",
        port=port,
        keys=Keys(),
        max_body_bytes=10_000,
        holdings=Holdings(),
    ):
        asyncio.run(_lose_replicas(port))


async def _lose_replicas(port: int) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=10
    ) as client:
        undisturbed = await _ask_all(client, kills=0)
        assert len(set(undisturbed)) > REQUESTS / 2  # else a mix-up would go unnoticed
        assert await _ask_all(client, kills=1) == undisturbed
        assert await _ask_all(client, kills=2) == undisturbed  # all there are


async def _ask_all(client: openai.AsyncOpenAI, kills: int) -> list[str]:
    async def ask(i: int) -> str:
        reply = await client.completions.create(
            model=NAMES[i % len(NAMES)], prompt=f"Tell me {i}", max_tokens=60, seed=i
        )
        [choice] = reply.choices
        return choice.text

    while len(replica_processes()) < 2:  # those that were killed before are replaced
        await asyncio.sleep(0.1)
    asked = [asyncio.create_task(ask(i)) for i in range(REQUESTS)]
    while sum(task.done() for task in asked) < REQUESTS / 10:
        await asyncio.sleep(0.01)
    victims = replica_processes()[:kills]
    assert len(victims) == kills
    for victim in victims:
        victim.kill()
    assert not all(task.done() for task in asked)
    return await asyncio.gather(*asked)
