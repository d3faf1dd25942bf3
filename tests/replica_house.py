"""A shelf and its replicas in one process, on engines without a model, and a client of theirs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import FakeEngine
from local_actor import LocalActor, kept

from actors.lm.adapter import Adapter
from configs.sections import ServerConfig
from serve import replica as replica_module
from serve.calls import Answer, Call, Loaded, Refusal
from serve.client import ServerClient
from serve.replica import Replica
from serve.shelf import AdapterShelf, Holdings

SERVER = ServerConfig(max_batch=2, max_queued_requests=4)
HELLO: dict[str, Any] = {"prompts": ["Hello"], "max_tokens": 8}


def adapter(number: float, base: str = "small") -> Adapter:
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": base}
    return Adapter({**config, "target_modules": ["x"]}, {"a": torch.tensor([float(number)])})


@dataclass
class House:
    """A shelf, and replicas that follow it."""

    shelf: AdapterShelf
    engines: list[FakeEngine]
    replicas: list[Replica] = field(default_factory=list)

    async def load(self, name: str, source: Adapter | str, at: int = 0) -> Loaded:
        full = opened(await self.shelf.reserve(name, source))
        loaded = opened(await self.replicas[at].load(full))
        await self.shelf.publish(full)
        return loaded

    async def start_replica(self, engine: FakeEngine) -> None:
        """One more, on an engine."""
        replica_module.ENGINES["torch"] = lambda *_: engine
        replica = Replica.__new__(Replica)
        await replica.__init__("small", ["small"], SERVER, LocalActor(self.shelf))  # type: ignore[misc]
        self.replicas.append(replica)

    async def ask(self, model: str, at: int = 0, **fields: Any) -> Answer:
        return opened(await self.replicas[at].answer(Call(model, **{**HELLO, **fields})))


def opened(reply: Any) -> Any:
    if isinstance(reply, Refusal):
        raise reply.error
    return reply


def run_house(
    test: Callable[[House], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *engines: FakeEngine,
) -> None:
    """Run `test(house)` with a replica on each engine."""

    async def main() -> None:
        monkeypatch.setattr(replica_module, "ENGINES", {})
        shelf = AdapterShelf(["small"], Holdings(str(folder)), keep=kept)
        house = House(shelf, list(engines or [FakeEngine()]))
        try:
            for engine in house.engines:
                await house.start_replica(engine)
            await asyncio.wait_for(test(house), 30)
        finally:
            for replica in house.replicas:
                await replica.close()

    asyncio.run(main())


class Handle:
    """What `ServerClient` sends by: its calls go to replica `at`, after each of `faults` is met."""

    def __init__(self, house: House) -> None:
        self.house, self.at = house, 0
        self.faults: list[Exception] = []

    def options(self, stream: bool) -> "Handle":
        """Streams are not for this one."""
        return self

    def __getattr__(self, method: str) -> Any:
        return getattr(LocalActor(_Faulty(self)), method)

    def client(self) -> ServerClient:
        """The server's client, without Serve."""
        handle: Any = self
        return ServerClient(handle, LocalActor(self.house.shelf))


class _Faulty:
    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __getattr__(self, method: str) -> Any:
        handle = self._handle

        async def asked(*arguments: Any) -> Any:
            if handle.faults:
                raise handle.faults.pop(0)
            return await getattr(handle.house.replicas[handle.at], method)(*arguments)

        return asked
