"""The front over an engine and a trainer in this process: real sockets, no Ray."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TINKER_TELEMETRY"] = "0"  # before the SDK is imported

from fastapi import FastAPI
from local_server import LocalClient
from looped_engine import looped
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from configs.sections import ServerConfig
from serve.app import build_app
from serve.door import open_door
from serve.engines.torch import start_torch_engine
from serve.openai.keys import Keys
from serve.tinker_api.by_path import ByPath
from serve.tinker_api.front import Front
from serve.tinker_api.routes import add_tinker
from serve.tinker_api.trainer import Trainer

KEY = "tml-test"


class OneThread:
    """`handle.method.remote(...)` as Ray has it for an actor: one call after the other."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self._thread = ThreadPoolExecutor(1)

    def __getattr__(self, name: str) -> Any:
        return _Method(self._thread, getattr(self.actor, name))


class _Method:
    def __init__(self, thread: ThreadPoolExecutor, method: Any) -> None:
        self._thread, self._method = thread, method

    def remote(self, *arguments: Any) -> "asyncio.Future[Any]":
        return asyncio.wrap_future(self._thread.submit(self._method, *arguments))


class Opened(NamedTuple):
    """A front that runs."""

    url: str
    front: Front

    @property
    def base(self) -> str:
        return self.front.base_name


def bare_app() -> FastAPI:
    """The routes, with nothing behind them: to see which there are."""
    nobody: Any = None
    front = Front(
        nobody, nobody, storage_root="nowhere", base_names=["base"], context_tokens=1, device="cpu"
    )
    app = FastAPI()
    add_tinker(app, front)
    return app


@contextmanager
def local_front(
    base_model: str,
    storage: Path,
    keys: Keys | None = None,
    max_adapters: int = 64,
    layer: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> Iterator[Opened]:
    """A front for the length of a block, behind a `layer`."""
    config = ServerConfig(device="cpu", max_adapters=max_adapters)
    trainer = Trainer(base_model, "float32", "cpu", str(storage), keep=lambda adapter: adapter)
    with looped(lambda: start_torch_engine(base_model, config)) as engine:
        client = LocalClient(engine, base_model)
        front = Front(
            client,
            OneThread(trainer),
            storage_root=str(storage),
            base_names=[base_model],
            context_tokens=trainer.ready(),
            device="cpu",
        )
        by_path = ByPath(client, front.adapter_of)
        app = build_app(by_path, keys or Keys(), 2**24, partial(add_tinker, front=front))
        with open_door(layer(app), "127.0.0.1", 0) as port:
            yield Opened(f"http://127.0.0.1:{port}", front)


class NoDownloads:
    """The front, with an endpoint that answers with a status instead of giving weights away."""

    app: ASGIApp

    def __init__(self) -> None:
        self.status: int | None = None

    def before(self, app: ASGIApp) -> ASGIApp:
        self.app = app
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if self.status and scope.get("path", "").endswith("/save_weights_external"):
            app = JSONResponse({"detail": "not here"}, self.status)
        await app(scope, receive, send)
