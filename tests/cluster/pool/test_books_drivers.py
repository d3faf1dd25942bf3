"""Two drivers, processes of their own on one Ray, that share books: one call for both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ray
from pool_endpoint import Endpoint, plain

DRIVER = """
import asyncio, json, logging, sys
import ray
from actors.lm.messages import user
from actors.pool.books.at import BooksAt
from actors.pool.client import ChatPool
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion
from configs.sections import PoolConfig

async def main(name, url, storage, texts):
    provider = Provider("offline", url, name, "rules", "")
    books = BooksAt(storage, name, name, None, None)
    requests = [ChatRequest(str(i), [user(text)]) for i, text in enumerate(texts)]
    print("ready", flush=True)
    sys.stdin.readline()
    async with ChatPool(provider, PoolConfig(max_concurrency=8), books) as pool:
        outcomes = [outcome async for outcome in pool.complete(requests)]
    answered = {o.key: o.text for o in outcomes if isinstance(o, Completion)}
    print(json.dumps([answered, sum(o.cached for o in outcomes)]), flush=True)

name, gcs, url, storage, texts = json.loads(sys.argv[1])
ray.init(address=gcs, log_to_driver=False, logging_level=logging.WARNING)
asyncio.run(main(name, url, storage, texts))
"""
ROOT = Path(__file__).parents[3]


def drive(name: str, endpoint: Endpoint, storage: Path, texts: list[str]) -> subprocess.Popen[str]:
    gcs = ray.get_runtime_context().gcs_address
    told = json.dumps([name, gcs, endpoint.url, str(storage), texts])
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_two_driver_processes_on_one_cache_ask_once(endpoint: Endpoint, tmp_path: Path):
    endpoint.faults(latency_s=0.05)
    texts = [request.messages[0]["content"] for request in plain(60)]
    drivers = [drive(name, endpoint, tmp_path, texts) for name in ("one", "two")]
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write("go\n")
        driver.stdin.flush()
    said = [json.loads(driver.communicate(timeout=90)[0]) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0]
    (first, first_cached), (second, second_cached) = said
    assert len(first) == 60
    assert first == second
    assert first_cached + second_cached == 60
    assert endpoint.counts()["asked"] == 60
