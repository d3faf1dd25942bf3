"""The adapters that the front has loaded on the server, and when they are taken away again.

A checkpoint is loaded when it is first asked for by its path, a snapshot when it is taken. An
adapter goes when no open session has a sampler of it and nobody has asked for it for a while; a
checkpoint comes back as soon as somebody asks for it again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from serve.calls import Loaded, Unavailable
from serve.paths import RefusedPath
from serve.tinker_api.paths import absent, invalid, parse_path
from serve.tinker_api.store import Store

STAYS_S = 300.0  # after it was last asked for


class Publisher(Protocol):
    """What is asked of the server: `serve.client.ServerClient`, or a test's stand-in."""

    async def load(self, name: str, path: str | None = None, adapter: Any = None) -> Loaded:
        """Make an adapter answerable."""
        ...

    async def unload(self, name: str) -> list[str]:
        """Take it away."""
        ...


class Published:
    """All of them, by their full names on the server. Its methods belong to one event loop."""

    def __init__(self, server: Publisher, store: Store, clock: Callable[[], float]) -> None:
        self._server, self._store, self._clock = server, store, clock
        self._of_path: dict[str, tuple[str, str]] = {}  # tinker path -> (digest, adapter)
        self._asked_s: dict[str, float] = {}  # adapter -> when it was last asked for
        self._changing = asyncio.Lock()
        self._loads: set[asyncio.Task[str]] = set()

    async def checkpoint(self, model_path: str) -> str:
        """The adapter of a checkpoint's weights; 404 where there is no such checkpoint."""
        manifest = await asyncio.to_thread(self._store.manifest, parse_path(model_path))
        return self._known(model_path, manifest.digest) or await self._to_the_end(
            self._load_checkpoint(model_path, manifest.digest)
        )

    async def snapshot(self, name: str, adapter: Any) -> str:
        """The adapter of weights that nobody else has a name for."""
        return await self._to_the_end(self._load_snapshot(name, adapter))

    async def tidy(self, is_used: Callable[[str], bool]) -> None:
        """Take away what no sampler uses and nobody has asked for."""
        for adapter in list(self._asked_s):
            async with self._changing:  # both are asked once it is held: a load may come between
                if is_used(adapter) or self._asked_s[adapter] > self._clock() - STAYS_S:
                    continue
                del self._asked_s[adapter]
                self._of_path = {k: v for k, v in self._of_path.items() if v[1] != adapter}
                with suppress(UnknownAdapter, RefusedAdapter, Unavailable):  # gone already
                    await self._server.unload(adapter)

    def _known(self, model_path: str, digest: str) -> str | None:
        known, adapter = self._of_path.get(model_path, ("", ""))
        # Another one where it was deleted since, and something else saved under its name.
        return self._noted(adapter) if known == digest else None

    def _noted(self, adapter: str) -> str:
        self._asked_s[adapter] = self._clock()
        return adapter

    async def _load_checkpoint(self, model_path: str, digest: str) -> str:
        async with self._changing:
            if known := self._known(model_path, digest):
                return known
            folder = self._store.folder(parse_path(model_path))
            try:
                loaded = await self._server.load(model_path, path=folder)
            except RefusedPath as error:
                raise absent(str(error)) from None
            except RefusedAdapter as error:
                raise invalid(str(error)) from None
            self._of_path[model_path] = digest, loaded.model
            return self._noted(loaded.model)

    async def _load_snapshot(self, name: str, adapter: Any) -> str:
        return self._noted((await self._server.load(name, adapter=adapter)).model)

    async def _to_the_end(self, load: Coroutine[Any, Any, str]) -> str:
        """Also when who asked is gone: broken off half way, it could stay loaded for ever."""
        task = asyncio.create_task(load)
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        return await asyncio.shield(task)
