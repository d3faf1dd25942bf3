"""The adapter server's client inside the cluster: a Ray Serve handle, no HTTP.

It can be sent to any actor or task: a trainer publishes what it trained with `load`.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError
from ray.serve.handle import DeploymentHandle

from actors.lm.adapter import Adapter
from actors.lm.engine import EngineStats
from actors.lm.requests import Question, Scores
from serve.calls import Answer, Call, Delta, Description, Loaded, Opened, Prompt
from serve.sending import send, stream, tell

_READY_S = 1.0


class ServerClient:
    """Asks a server. Many calls at once are what it is made for: the engine batches them.

    Every method may raise Unavailable, those that compute something Overloaded; UnknownAdapter,
    BadRequest, BrokenAdapter and RefusedAdapter come as themselves.
    """

    def __init__(self, replicas: DeploymentHandle, shelf: Any) -> None:
        self._replicas, self._shelf = replicas, shelf
        self._streams = replicas.options(stream=True)

    def __reduce__(self) -> tuple[type["ServerClient"], tuple[DeploymentHandle, Any]]:
        return type(self), (self._replicas, self._shelf)

    async def ask(self, call: Call) -> Answer:
        """Each prompt completed n times; a call that a dying replica took along is sent again."""
        return await send(self._replicas, "answer", call)

    def ask_stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Answer, None]:
        """The same as it comes, and the whole answer last. To close it ends its rows."""
        return stream(self._streams, "stream", call)

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        """What each adapter says to all the questions, computed together."""
        return await send(self._replicas, "score", list(adapters), list(questions))

    async def tokenize(self, prompt: Prompt, add_special_tokens: bool) -> list[int]:
        """A prompt's token ids; a conversation as the chat template renders it."""
        return await send(self._replicas, "tokenize", prompt, add_special_tokens)

    async def describe(self) -> Description:
        """The base, and every adapter that can be asked."""
        return await send(self._replicas, "describe")

    async def load(
        self, name: str, path: str | None = None, adapter: Adapter | None = None
    ) -> Loaded:
        """Make an adapter answerable, from memory or from the server's storage root.

        It is answered when a replica has loaded it and every replica knows its name. A bare name
        gets its next version. AbsentAdapter where there is no such path.
        """
        source = adapter if adapter is not None else path
        if source is None:
            raise ValueError("load needs a path or an adapter")
        full = await tell(self._shelf.reserve.remote(name, source))
        try:
            # Not sent again: an adapter that killed one replica could kill them all.
            loaded: Loaded = await send(self._replicas, "load", full, tries=1)
            await tell(self._shelf.publish.remote(full))
        except BaseException:
            self._shelf.give_up.remote(full)
            raise
        return loaded

    async def unload(self, name: str) -> list[str]:
        """Take away `name@version`, or all versions of `name`; what was asked before is answered.

        Returns what went, when no replica knows it any more.
        """
        return await tell(self._shelf.remove.remote(name))

    async def sleep(self) -> None:
        """Have all engines leave their devices to somebody else, once what runs is answered.

        What is asked from then on waits for `wake`, loads and unloads as well.
        """
        await tell(self._shelf.rest.remote(True))

    async def wake(self) -> None:
        """Have all of them answer again."""
        await tell(self._shelf.rest.remote(False))

    def has_shelf(self) -> bool:
        """Whether the shelf lives, or is too busy to tell. Without it nothing is answered again."""
        try:
            ray.get(self._shelf.__ray_ready__.remote(), timeout=_READY_S)
        except ActorDiedError:
            return False
        except (GetTimeoutError, ActorUnavailableError):
            return True
        return True

    async def stats(self) -> list[tuple[str, EngineStats, list[str]]]:
        """For each replica that answers: its id, how busy it is, and the adapters in its slots."""
        watchers = await tell(self._shelf.roll_call.remote())
        return [(replica, one.stats, one.resident) for replica, one in watchers.items()]
