"""The server as a user starts it, in a process of its own, and clients of it over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection
from threading import Lock
from typing import Any, NamedTuple

import psutil

from jobs.bench.machine import tree_cpu_s
from jobs.bench.serve.work import Row, adapter_name
from jobs.bench.side import hold_to, one_thread

_START_S, _LOOK_S, _ANSWER_S = 180.0, 0.5, 120.0


class Answered(NamedTuple):
    """What it took to answer some rows."""

    cpu_s: float
    wall_s: float
    tokens: int


class Endpoint:
    """`python -m jobs serve`, on one core or on all. What asks it runs in the caller's process."""

    def __init__(
        self,
        base: str,
        adapters: Mapping[str, str],
        storage: str,
        core: int | None,
        tinker: bool = False,
    ) -> None:
        self._port = _free_port()
        given = json.dumps(dict(adapters))
        arguments = [f"base_model={base}", f"adapters={given}", f"port={self._port}"]
        arguments.append(f"tinker={json.dumps(tinker)}")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs", "serve", *arguments, f"storage={storage}"],
            stdout=subprocess.DEVNULL,
            env={**os.environ, **one_thread()},
            start_new_session=True,
            preexec_fn=None if core is None else lambda: hold_to(core),
        )
        self._wait()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

    def sampled(self, rows: list[Row], callers: int) -> Answered:
        """What it takes to answer the rows for so many callers; the callers' own CPU left out."""
        left = iter(rows)
        places = Lock()

        def call() -> int:
            """A caller on a connection of its own: the tokens that it was answered."""
            tokens, connection = 0, self._connection()
            while True:
                with places:
                    row = next(left, None)
                if row is None:
                    connection.close()
                    return tokens
                answer = _asked(connection, "/v1/completions", _body(row))
                tokens += answer["usage"]["completion_tokens"]

        with ThreadPoolExecutor(callers) as pool:
            cpu_s, started_s = tree_cpu_s(self._process.pid), time.perf_counter()
            answered = [call_.result() for call_ in [pool.submit(call) for _ in range(callers)]]
            wall_s = time.perf_counter() - started_s
            cpu_s = tree_cpu_s(self._process.pid) - cpu_s
        return Answered(cpu_s, wall_s, sum(answered))

    def first_token_s(self, row: Row) -> float:
        """Seconds from the request to the first text in the stream."""
        connection = self._connection()
        connection.connect()
        started_s = time.perf_counter()
        _send(connection, "/v1/completions", {**_body(row), "stream": True})
        reply = connection.getresponse()
        next(line for line in reply if _has_text(line))
        first_s = time.perf_counter() - started_s
        reply.read()
        connection.close()
        return first_s

    def load(self, name: str, path: str) -> None:
        """Load an adapter."""
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload(self, name: str) -> None:
        """Unload it."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name})

    def answer(self, name: str, row: Row) -> None:
        """Ask an adapter by its name."""
        self._post("/v1/completions", {**_body(row), "model": name})

    def memory_mb(self) -> float:
        """Memory of all its processes in MB of 10^6 bytes, what they share counted once."""
        tree = psutil.Process(self._process.pid)
        return sum(_proportional_mb(one) for one in (tree, *tree.children(recursive=True)))

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        connection = self._connection()
        _asked(connection, path, body)
        connection.close()

    def _connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S)

    def _wait(self) -> None:
        give_up_s = time.monotonic() + _START_S
        while time.monotonic() < give_up_s:
            with suppress(OSError):
                connection = self._connection()
                connection.request("GET", "/health")
                if connection.getresponse().status == HTTPStatus.OK:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(_LOOK_S)
        raise RuntimeError(f"the server did not start (exit {self._process.poll()}): see above")


def _body(row: Row) -> dict[str, Any]:
    return {
        "model": adapter_name(row.adapter),
        "prompt": row.prompt_ids,
        "max_tokens": row.new_tokens,
        "temperature": 0,
    }


def _send(connection: HTTPConnection, path: str, body: Mapping[str, Any]) -> None:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})


def _has_text(line: bytes) -> bool:
    data = line.removeprefix(b"data: ")
    return data.startswith(b"{") and any(part["text"] for part in json.loads(data)["choices"])


def _asked(connection: HTTPConnection, path: str, body: Mapping[str, Any]) -> Any:
    _send(connection, path, body)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != HTTPStatus.OK:
        raise RuntimeError(f"{path}: {reply.status} {text.decode()}")
    return json.loads(text)


def _proportional_mb(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return process.memory_full_info().pss / 1e6
    return 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
