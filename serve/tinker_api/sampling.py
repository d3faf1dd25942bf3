"""Samplers: published adapters, and what they are asked.

A sampler answers by the weights that it was made with, whatever is trained since. It is asked by
the full name of its adapter, which stands for one content for ever.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from tinker import types

from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE
from serve.calls import Answer, Call, Overloaded, Unavailable
from serve.tinker_api.futures import PROTOBUF, Failed, Outcome, answered
from serve.tinker_api.paths import absent, session_of
from serve.tinker_api.published import Published
from serve.tinker_api.samples import PromptWishes, sampled
from serve.tinker_api.sessions import Sessions


class Answering(Protocol):
    """What is asked of the server: `serve.client.ServerClient`, or a test's stand-in."""

    async def ask(self, call: Call) -> Answer:
        """A prompt completed n times."""
        ...


@dataclass(frozen=True)
class Sampler:
    """One of them: the adapter's name on the server, and the checkpoint that it was made of."""

    id: str
    adapter: str  # `name@version`, or base
    model_path: str | None = None


class Samplers:
    """All that there are, by their ids."""

    def __init__(self, server: Answering, published: Published, sessions: Sessions) -> None:
        self._server, self._published, self._sessions = server, published, sessions
        self._samplers: dict[str, Sampler] = {}

    def of_base(self, sampler: str) -> None:
        """A sampler of the base model."""
        self._add(Sampler(sampler, BASE))

    async def of_checkpoint(self, sampler: str, model_path: str) -> None:
        """A sampler of a checkpoint's weights; 404 where there is no such checkpoint."""
        adapter = await self._published.checkpoint(model_path)
        self._add(Sampler(sampler, adapter, model_path))

    async def of_snapshot(self, sampler: str, snapshot: list[Any]) -> Outcome:
        """A sampler of weights that nobody else has a name for."""
        try:
            adapter = await self._published.snapshot(sampler, snapshot[0])
        except (RefusedAdapter, Unavailable, Overloaded) as error:
            raise Failed(f"the server did not take the adapter: {error}", "server") from None
        self._add(Sampler(sampler, adapter))
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

    def use(self, adapter: str) -> bool:
        """Whether an adapter is some sampler's."""
        return any(one.adapter == adapter for one in self._samplers.values())

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

    def forget_session(self, session: str) -> None:
        """Forget a session's samplers."""
        for name in self.of_session(session):
            del self._samplers[name]

    def _add(self, sampler: Sampler) -> None:
        self._sessions.alive(sampler.id)  # it may have ended while the adapter was loaded
        self._samplers[sampler.id] = sampler
