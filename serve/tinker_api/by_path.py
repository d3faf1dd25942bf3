"""The server as OpenAI's clients ask it: also for checkpoints, by their tinker:// paths.

A path is asked for as it stands now. `name@version`, as replies have it, is one of the server's
own names and goes to it as it is.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from actors.lm.engine import EngineStats
from serve.calls import Answer, Call, Delta, Description, Loaded, Opened, Prompt
from serve.openai.backend import Backend
from serve.tinker_api.paths import SCHEME


class ByPath:
    """A `Backend` over another one; a checkpoint that is asked for is loaded first."""

    def __init__(self, server: Backend, adapter_of: Callable[[str], Awaitable[str]]) -> None:
        """`adapter_of` is the server's name of a checkpoint, loaded; 404 where there is none."""
        self._server, self._adapter_of = server, adapter_of

    async def ask(self, call: Call) -> Answer:
        """404 for a path without a checkpoint."""
        return await self._server.ask(await self._by_adapter(call))

    async def ask_stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Answer, None]:
        """The same as it comes."""
        async with aclosing(self._server.ask_stream(await self._by_adapter(call))) as parts:
            async for part in parts:
                yield part

    async def describe(self) -> Description:
        """Of checkpoints those that are loaded."""
        return await self._server.describe()

    async def load(self, name: str, path: str | None = None) -> Loaded:
        """As the server does."""
        return await self._server.load(name, path)

    async def unload(self, name: str) -> list[str]:
        """As the server does."""
        return await self._server.unload(name)

    async def tokenize(self, prompt: Prompt, add_special_tokens: bool) -> list[int]:
        """As the server does."""
        return await self._server.tokenize(prompt, add_special_tokens)

    async def stats(self) -> list[tuple[str, EngineStats, list[str]]]:
        """As the server does."""
        return await self._server.stats()

    async def _by_adapter(self, call: Call) -> Call:
        if not call.model.startswith(SCHEME) or "@" in call.model:
            return call
        return replace(call, model=await self._adapter_of(call.model))
