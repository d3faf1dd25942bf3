"""The app behind real sockets: clients that hang up, ports in use, the end of a block."""

import asyncio
import json
import socket
import threading
import time
from typing import Any

import httpx2
import pytest
from fake_server import FakeClient

from configs.errors import UserError
from serve.address import check_free, is_loopback
from serve.app import build_app
from serve.door import open_door
from serve.openai.keys import Keys

HOST = "127.0.0.1"
PROMPT: dict[str, Any] = {"model": "one", "prompt": "Hello"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_cancels_its_call(stream: bool) -> None:
    fake = FakeClient(hangs=True)
    with open_door(build_app(fake, Keys(), 10_000), HOST, 0) as port:
        body = json.dumps(PROMPT | {"stream": stream}).encode()
        with socket.create_connection((HOST, port)) as client:
            client.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            _wait_until(lambda: bool(fake.calls))
            assert fake.cancelled == 0
        _wait_until(lambda: fake.cancelled == 1)


def _wait_until(happened: Any) -> None:
    while not happened():  # the test's own time limit bounds it
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
def test_open_requests_are_told_of_the_end(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeClient(stalls=stream, hangs=not stream)
    at_once, told = threading.Event(), list[httpx2.Response]()

    def ask() -> None:
        url = f"http://{HOST}:{port}/v1/completions"
        told.append(httpx2.post(url, json=PROMPT | {"stream": stream}, timeout=None))

    asker = threading.Thread(target=ask)
    with open_door(build_app(fake, Keys(), 10_000), HOST, 0, at_once) as port:
        asker.start()
        _wait_until(lambda: bool(fake.calls) and fake.hangs)
        at_once.set()
    asker.join()
    if stream:
        assert told[0].status_code == 200
        *_, last = told[0].text.strip().split("\n\n")
        error = json.loads(last.removeprefix("data: "))["error"]
    else:
        assert told[0].status_code == 503
        error = told[0].json()["error"]
    assert error["message"] == "the server is stopping."
    assert fake.cancelled == 1
    assert not caplog.records


def test_many_requests_on_kept_connections() -> None:
    async def ask(port: int) -> list[int]:
        async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
            replies = await asyncio.gather(
                *(client.post("/v1/completions", json=PROMPT) for _ in range(50))
            )
        return [reply.status_code for reply in replies]

    with open_door(build_app(FakeClient(), Keys(), 10_000), HOST, 0) as port:
        assert asyncio.run(ask(port)) == [200] * 50
        with pytest.raises(UserError, match=f"Cannot listen on {HOST}:{port}"):
            check_free(HOST, port)
    check_free(HOST, port)


def test_headers_are_bounded() -> None:
    with (
        open_door(build_app(FakeClient(), Keys(), 10_000), HOST, 0) as port,
        socket.create_connection((HOST, port)) as client,
    ):
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000)
        assert client.recv(100).startswith(b"HTTP/1.1 4")


def test_which_hosts_are_loopback() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "no such host")))
