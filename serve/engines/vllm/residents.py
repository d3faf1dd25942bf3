"""The adapters that vllm holds: how they come, who uses them, how they leave."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from actors.lm.adapter import Adapter
from actors.lm.engine import Limits
from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE
from serve.engines.vllm.api import Api
from serve.engines.vllm.shelf import Shelf, Shelved, check_adapter


@dataclass(frozen=True)
class Base:
    """What is known of the base model beside its weights, which are vllm's."""

    name: str
    digest: str
    skeleton: nn.Module  # its modules on the meta device
    limits: Limits


@dataclass
class Resident:
    """An adapter that can answer, or the base."""

    name: str
    digest: str
    lora: Shelved | None  # None: the base
    calls: set["asyncio.Future[None]"] = field(default_factory=set)  # that use it


@contextmanager
def in_use(residents: Sequence[Resident]) -> Iterator[None]:
    """Inside, none of them leaves."""
    call = asyncio.get_running_loop().create_future()
    for resident in residents:
        resident.calls.add(call)
    try:
        yield
    finally:
        call.set_result(None)
        for resident in residents:
            resident.calls.discard(call)


class Residents:
    """At most `max_adapters` of them. `changes` is held while one comes or leaves."""

    def __init__(self, llm: Any, api: Api, base: Base, max_adapters: int) -> None:
        self._llm, self._api, self._base, self._max_adapters = llm, api, base, max_adapters
        self._named = {BASE: Resident(BASE, base.digest, None)}
        self._drops: set[asyncio.Task[None]] = set()  # unloaded, not done with their last answers
        self._shelf = Shelf()
        self.changes = asyncio.Lock()

    def find(self, name: str) -> Resident:
        """UnknownAdapter when it is not there."""
        if name not in self._named:
            raise UnknownAdapter(name, list(self._named))
        return self._named[name]

    def digests(self) -> dict[str, str]:
        """Name -> digest, base included."""
        return {name: resident.digest for name, resident in self._named.items()}

    async def load(self, name: str, adapter: Adapter) -> str:
        """Hand an adapter to vllm and return its digest."""
        async with self.changes:
            digest = await asyncio.to_thread(lambda: adapter.digest)
            known = self._named.get(name)
            if known is None:
                lora = await asyncio.to_thread(self._shelve, name, adapter)
                await self._add(lora)
                self._named[name] = Resident(name, digest, lora)
            elif known.digest != digest:
                raise RefusedAdapter(f'"{name}" is already loaded with another content')
        return digest

    async def unload(self, name: str) -> None:
        """Refuse new requests for `name` at once, drop it when the last one is answered."""
        if name == BASE:
            raise RefusedAdapter("the base cannot be unloaded")
        resident = self.find(name)
        del self._named[name]
        # A caller that no longer waits for it must not leave a place taken for ever.
        task = asyncio.create_task(self._drop(resident))
        self._drops.add(task)
        task.add_done_callback(self._drops.discard)
        await asyncio.shield(task)

    def close(self) -> None:
        """Delete the adapters' files."""
        self._shelf.close()

    def _shelve(self, name: str, adapter: Adapter) -> Shelved:
        taken = len(self._named) - 1 + len(self._drops)
        if taken >= self._max_adapters:
            raise RefusedAdapter(f"all {taken} places are taken; unload one or raise max_adapters")
        check_adapter(adapter, self._base.name, self._base.skeleton)
        return self._shelf.put(name, adapter)

    async def _add(self, lora: Shelved) -> None:
        """Load it in vllm now: one that it cannot load in `generate` would end its processes."""
        try:
            await self._llm.add_lora(self._api.LoRARequest(**lora._asdict()))
        except Exception as error:  # vllm's processes pass theirs on as Exception
            self._shelf.remove(lora)
            if self._llm.errored:
                raise
            raise RefusedAdapter(f"vllm refuses it: {error}") from error

    async def _drop(self, resident: Resident) -> None:
        if resident.calls:
            await asyncio.wait(resident.calls)
        async with self.changes:
            if resident.lora is not None:
                await self._llm.remove_lora(resident.lora.lora_int_id)
                await asyncio.to_thread(self._shelf.remove, resident.lora)
