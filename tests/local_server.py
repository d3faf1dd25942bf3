"""The adapter server's client over an engine in this process: no Ray, no registry of versions."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.engine import Engine, EngineStats
from actors.lm.refusals import RefusedAdapter
from actors.lm.requests import Piece
from configs.errors import UserError
from serve.answering import Asked
from serve.calls import Answer, Call, Delta, Description, Loaded, Opened, Prompt
from serve.prompts import encode_prompt
from serve.registry import resolve
from serve.tokens import TokenTexts


@dataclass
class LocalClient:
    """`serve.client.ServerClient` as the door knows it."""

    engine: Engine
    base_name: str

    def __post_init__(self) -> None:
        self._texts = TokenTexts(self.engine.limits.tokenizer)

    async def ask(self, call: Call) -> Answer:
        asked = self._asked(call)
        return asked.answer(await self.engine.sample(asked.requests()), self._texts)

    async def ask_stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Answer, None]:
        asked, pieces = self._asked(call), asyncio.Queue[tuple[int, Piece] | None]()
        sampling = asyncio.create_task(
            self.engine.sample(asked.requests(), lambda i, piece: pieces.put_nowait((i, piece)))
        )
        sampling.add_done_callback(lambda _: pieces.put_nowait(None))
        opened = False
        try:
            while (piece := await pieces.get()) is not None:
                if not opened:
                    opened = True
                    yield Opened(asked.model, asked.fingerprint, asked.digest)
                yield asked.delta([piece], self._texts)
            answer = asked.answer(await sampling, self._texts)
            if not opened:
                yield Opened(asked.model, asked.fingerprint, asked.digest)
            yield answer
        finally:
            sampling.cancel()

    async def describe(self) -> Description:
        return Description(None, self.base_name, [self.base_name], self.engine.adapters())

    async def load(
        self, name: str, path: str | None = None, adapter: Adapter | None = None
    ) -> Loaded:
        try:
            adapter = adapter or read_adapter(str(path))
        except UserError as error:
            raise RefusedAdapter(str(error)) from None
        full = name if "@" in name else f"{name}@1"
        return Loaded(full, await self.engine.load(full, adapter), [])

    async def unload(self, name: str) -> list[str]:
        full = resolve(name, list(self.engine.adapters()), [self.base_name])
        await self.engine.unload(full)
        return [full]

    async def tokenize(self, prompt: Prompt, add_special_tokens: bool) -> list[int]:
        tokenizer = self.engine.limits.tokenizer
        return encode_prompt(tokenizer, prompt, add_special_tokens=add_special_tokens)

    async def stats(self) -> list[tuple[str, EngineStats, list[str]]]:
        return [("here", self.engine.stats(), list(self.engine.adapters()))]

    def _asked(self, call: Call) -> Asked:
        digests = self.engine.adapters()
        name = resolve(call.model, list(digests), [self.base_name])
        return Asked(call, name, digests, self.engine.limits)
