"""Processes that end badly: the parent of an endpoint killed, a consumer interrupted."""

import json
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

PARENT = """
import json, time
from actors.pool.provider import open_provider
with open_provider("offline") as provider:
    print(json.dumps(provider.base_url), flush=True)
    time.sleep(600)
"""

CONSUMER = """
import asyncio, itertools, tempfile
from actors.lm.messages import user
from actors.pool.books.at import BooksAt
from actors.pool.client import ChatPool
from actors.pool.endpoint.faults import FaultConfig
from actors.pool.endpoint.process import endpoint_process
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest
from configs.sections import PoolConfig
from jobs.cluster import ray_session

async def main(url, storage):
    requests = (ChatRequest(str(i), [user(f"Question {i}?")]) for i in itertools.count())
    books = BooksAt(storage, "run", "session", None, None)
    async with ChatPool(Provider("offline", url, "none", "rules", ""), PoolConfig(), books) as pool:
        async for outcome in pool.complete(requests):
            print("answered", flush=True)

faults = FaultConfig(first=["none"], share={"stall": 1.0})
with endpoint_process(faults) as url, tempfile.TemporaryDirectory() as storage, ray_session():
    asyncio.run(main(url, storage))
"""


def answers(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_endpoint_ends_with_its_parent(how: signal.Signals):
    parent = start(PARENT)
    port = urlsplit(json.loads(first_line(parent))).port
    assert port is not None
    assert answers(port)
    parent.send_signal(how)
    parent.communicate()
    deadline_s = time.monotonic() + 20
    while answers(port) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not answers(port)


def test_an_interrupt_leaves_no_noise():
    consumer = start(CONSUMER)
    assert first_line(consumer).startswith("Starting a local Ray")
    assert first_line(consumer) == "answered\n"
    consumer.send_signal(signal.SIGINT)
    _, said = consumer.communicate(timeout=30)
    assert consumer.returncode != 0
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert "never retrieved" not in said
    assert "Unclosed" not in said


def test_a_port_in_use_is_said_plainly():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "actors.pool.endpoint", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert f"Port {port} cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
