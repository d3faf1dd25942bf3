"""What the door asks of the server behind it: `serve.client.ServerClient`, or a test's stand-in."""

from collections.abc import AsyncGenerator
from typing import Protocol

from actors.lm.engine import EngineStats
from serve.calls import Answer, Call, Delta, Description, Loaded, Opened, Prompt


class Backend(Protocol):
    """Unavailable and Overloaded may come from each, the refusals of `actors.lm` where they fit."""

    async def ask(self, call: Call) -> Answer:
        """Each prompt completed n times."""
        ...

    def ask_stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Answer, None]:
        """The same as it comes, and the whole answer last. To close it ends its rows."""
        ...

    async def describe(self) -> Description:
        """The base, and every adapter that can be asked."""
        ...

    async def load(self, name: str, path: str | None = None) -> Loaded:
        """Make an adapter answerable."""
        ...

    async def unload(self, name: str) -> list[str]:
        """Take away `name@version`, or all versions of `name`; returns what went."""
        ...

    async def tokenize(self, prompt: Prompt, add_special_tokens: bool) -> list[int]:
        """A prompt's token ids."""
        ...

    async def stats(self) -> list[tuple[str, EngineStats, list[str]]]:
        """For each replica: its id, how busy it is, and the adapters in its slots."""
        ...
