"""A replica's side of the shelf: which names there are, as of a moment ago that is short enough."""

import asyncio
import time
import uuid
from typing import Any

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from serve.calls import Refusal, Unavailable
from serve.residents import Residents
from serve.shelf import LEASE_S, View

_LOOK_AGAIN_S = 0.05


class Follower:
    """Follows a shelf, and tells it how busy the replica is."""

    def __init__(self, shelf: Any, engine: Engine) -> None:
        self._shelf, self._engine = shelf, engine
        self.residents = Residents(engine, self._fetch)
        self._asleep, self._turned = False, asyncio.Event()
        self._name, self._view, self._looked_s = uuid.uuid4().hex[:8], View(-1, {}), 0.0

    async def start(self) -> None:
        """Look once, and then for ever."""
        await self._look()
        self._following = asyncio.create_task(self._follow())
        self._settling = asyncio.create_task(self._keep_settled())

    async def digests(self) -> dict[str, str]:
        """`name@version` -> digest of what can be asked for; Unavailable without the shelf.

        A view whose lease is over is not used: the shelf may have answered a load or an unload
        without waiting for this replica.
        """
        while time.monotonic() > self._looked_s + LEASE_S:
            if self._following.done():
                raise Unavailable("the server's shelf of adapters does not answer")
            await asyncio.wait([self._following], timeout=_LOOK_AGAIN_S)
        return self._view.digests

    def check_alive(self) -> None:
        """RuntimeError when it has stopped to follow."""
        if self._following.done():
            raise RuntimeError("the replica no longer hears of adapters that come and go")
        if self._settling.done():
            raise RuntimeError("the replica's engine could not fall asleep or wake up")

    def close(self) -> None:
        """Follow no longer."""
        self._following.cancel()
        self._settling.cancel()

    async def _follow(self) -> None:
        while True:
            await self._look()

    async def _look(self) -> None:
        stats, asked_s = self._engine.stats(), time.monotonic()
        resident, wanted = self.residents.names, self.residents.wanted
        view: View = await self._shelf.watch.remote(
            self._name, self._view.serial, stats, resident, wanted, self._asleep
        )
        gone = [full for full in self._view.digests if full not in view.digests]
        self._view, self._looked_s = view, asked_s
        self.residents.retire(gone)
        if view.asleep != self._asleep:
            self._turned.set()

    async def _keep_settled(self) -> None:
        """Have the engine asleep or awake, as the shelf wants it, beside the polls."""
        while True:
            await self._turned.wait()
            self._turned.clear()
            while self._view.asleep != self._asleep:
                await (self._engine.wake() if self._asleep else self._engine.sleep())
                self._asleep = not self._asleep
                await self._shelf.settled.remote(self._name, self._asleep)

    async def _fetch(self, full: str) -> Adapter:
        found = await self._shelf.fetch.remote(full)
        if isinstance(found, Refusal):
            raise found.error
        return await found[0]
