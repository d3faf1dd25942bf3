"""Samplers: adapters that were published to the server, and what they are asked.

A sampler answers by the weights that it was made with, whatever is trained since. It is asked by
the full name of its adapter, which stands for one content for ever.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from tinker import types

from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE
from serve.calls import Answer, Call, Loaded, Overloaded, Unavailable
from serve.paths import RefusedPath
from serve.tinker_api.futures import PROTOBUF, Failed, Outcome, answered
from serve.tinker_api.paths import absent, invalid, parse_path, session_of
from serve.tinker_api.samples import PromptWishes, sampled
from serve.tinker_api.store import Store


class Publisher(Protocol):
    """What is asked of the server: `serve.client.ServerClient`, or a test's stand-in."""

    async def ask(self, call: Call) -> Answer:
        """A prompt completed n times."""
        ...

    async def load(self, name: str, path: str | None = None, adapter: Any = None) -> Loaded:
        """Make an adapter answerable."""
        ...

    async def unload(self, name: str) -> list[str]:
        """Take it away."""
        ...


@dataclass(frozen=True)
class Sampler:
    """One of them: the adapter's name on the server, and the checkpoint that it was made of."""

    id: str
    adapter: str  # `name@version`, or base
    model_path: str | None = None


class Samplers:
    """All that there are, by their ids."""

    def __init__(self, server: Publisher, store: Store) -> None:
        self._server, self._store = server, store
        self._samplers: dict[str, Sampler] = {}
        self._loaded: dict[str, tuple[str, str]] = {}  # tinker path -> (created, adapter)
        self._loading = asyncio.Lock()

    def of_base(self, sampler: str) -> None:
        """A sampler of the base model."""
        self._samplers[sampler] = Sampler(sampler, BASE)

    async def of_checkpoint(self, sampler: str, model_path: str) -> None:
        """A sampler of a checkpoint's weights; 404 where there is no such checkpoint."""
        path = parse_path(model_path)
        created = (await asyncio.to_thread(self._store.read, path)).created
        async with self._loading:
            known = self._loaded.get(model_path)
            if known is None or known[0] != created:  # deleted since, and saved under its name
                try:
                    loaded = await self._server.load(model_path, path=self._store.folder(path))
                except RefusedPath as error:
                    raise absent(str(error)) from None
                except RefusedAdapter as error:
                    raise invalid(str(error)) from None
                self._loaded[model_path] = known = created, loaded.model
        self._samplers[sampler] = Sampler(sampler, known[1], model_path)

    async def of_snapshot(self, sampler: str, snapshot: list[Any]) -> Outcome:
        """A sampler of weights that nobody else has a name for."""
        try:
            loaded = await self._server.load(sampler, adapter=snapshot[0])
        except (RefusedAdapter, Unavailable, Overloaded) as error:
            raise Failed(f"the server did not take the adapter: {error}", "server") from None
        self._samplers[sampler] = Sampler(sampler, loaded.model)
        return answered({"sampling_session_id": sampler, "type": "save_weights_for_sampler"})

    def get(self, sampler: str) -> Sampler:
        """A sampler; 404 where there is none."""
        found = self._samplers.get(sampler)
        if found is None:
            raise absent(f'there is no sampler "{sampler[:300]}"')
        return found

    def __contains__(self, sampler: str) -> bool:
        return sampler in self._samplers

    def of_session(self, session: str) -> list[str]:
        """The samplers that a session made."""
        return [name for name in self._samplers if session_of(name) == session]

    def asked(self, request: str) -> bool:
        """Whether a request is one of a sampler's."""
        return request.rpartition(":")[0] in self._samplers

    async def sample(self, call: Call, request: types.SampleRequest) -> Outcome:
        """What the sampler says; a full server is asked again until it has room."""
        while True:
            try:
                answer = await self._server.ask(call)
                break
            except Overloaded as error:
                await asyncio.sleep(error.retry_after_s)
            except (BadRequest, UnknownAdapter, BrokenAdapter) as error:
                raise Failed(str(error)) from None
            except Unavailable as error:
                raise Failed(str(error), "server") from None
        wishes = PromptWishes(
            logprobs=bool(request.prompt_logprobs),
            likeliest=request.topk_prompt_logprobs,
            last_n=request.prompt_logprobs_last_n,
        )
        likeliest = request.topk_sample_logprobs
        return Outcome(sampled(answer, sampled_likeliest=likeliest, prompt=wishes), PROTOBUF)

    async def release(self, session: str) -> None:
        """Forget a session's samplers, and unload the adapters that no other sampler has."""
        gone = [self._samplers.pop(name) for name in self.of_session(session)]
        used = {one.adapter for one in self._samplers.values()} | {BASE}
        for adapter in {one.adapter for one in gone} - used:
            self._loaded = {k: v for k, v in self._loaded.items() if v[1] != adapter}
            try:
                await self._server.unload(adapter)
            except (UnknownAdapter, RefusedAdapter, Unavailable):
                continue  # somebody has unloaded it already
