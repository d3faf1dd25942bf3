"""A replica: the base model, its engine and its adapters in one process of the cluster.

Errors that a caller can cause go back as values: thrown, they would fill the log with traces and
reach the caller wrapped in Ray's own types.
"""

import gc
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ray.exceptions import ActorDiedError

from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, Question, Scores
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.answering import Asked
from serve.calls import (
    Answer,
    Call,
    Delta,
    Description,
    Loaded,
    Opened,
    Overloaded,
    Prompt,
    Refusal,
    Unavailable,
)
from serve.crowd import Crowd
from serve.engines import ENGINES
from serve.follower import Follower
from serve.probe import probe_question
from serve.prompts import encode_prompt
from serve.registry import resolve
from serve.routing import RESIDENT
from serve.streaming import parts_of
from serve.tokens import TokenTexts

_REFUSALS = (
    UnknownAdapter,
    RefusedAdapter,
    BadRequest,
    BrokenAdapter,
    Overloaded,
    Unavailable,
)


class Replica:
    """Answers calls with an engine.

    A replica that cannot start says why in `describe`; if it failed instead, Serve would start it
    again and again.
    """

    async def __init__(
        self, base_name: str, base_names: list[str], server: ServerConfig, shelf: Any
    ) -> None:
        self._base_name, self._base_names = base_name, base_names
        self._problem: str | None = None
        try:
            await shelf.attend.remote()
        except ActorDiedError:  # with its driver: nobody will ask this one
            self._problem = "the server is gone: its shelf of adapters died"
            return
        try:
            self._engine: Engine = ENGINES[server.engine](base_name, server)
        except UserError as error:
            self._problem = str(error)
            return
        self._texts = TokenTexts(self._engine.limits.tokenizer)
        self._crowd = Crowd(server.max_batch, server.max_queued_requests)
        self._follower = Follower(shelf, self._engine)
        self._residents = self._follower.residents
        await self._follower.start()
        gc.freeze()  # torch and the model are no garbage: the collector need not look through them

    async def describe(self) -> Description:
        """What can be asked here."""
        digests = {} if self._problem is not None else await self._digests()
        return Description(self._problem, self._base_name, self._base_names, digests)

    async def answer(self, call: Call) -> Answer | Refusal:
        """Complete each prompt of a call n times."""
        try:
            with self._crowd.place(len(call.prompts) * call.n):
                asked = await self._asked(call)
                async with self._residents.using(asked.model):
                    samples = await self._engine.sample(asked.requests())
            return asked.answer(samples, self._texts)
        except _REFUSALS as error:
            return Refusal(error)

    async def stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Answer | Refusal]:
        """The same piece by piece: what opens it, what its choices gain, and all of it last."""
        try:
            with self._crowd.place(len(call.prompts) * call.n):
                asked = await self._asked(call)
                async with (
                    self._residents.using(asked.model),
                    aclosing(parts_of(asked, self._engine, self._texts)) as parts,
                ):
                    async for part in parts:
                        yield part
        except _REFUSALS as error:
            yield Refusal(error)

    async def score(
        self, adapters: Sequence[str], questions: Sequence[Question]
    ) -> list[Scores] | Refusal:
        """What each adapter says to the questions, as many adapters at once as there are places."""
        try:
            with self._crowd.place(len(questions)):
                known = list(await self._digests())
                names = [resolve(name, known, self._base_names) for name in adapters]
                scores, most = [], self._engine.max_adapters
                with self._residents.announced(names):
                    for first in range(0, len(names), most):
                        some = names[first : first + most]
                        async with self._residents.using_all(some):
                            scores += await self._engine.score(some, questions)
            return scores
        except _REFUSALS as error:
            return Refusal(error)

    async def load(self, full: str) -> Loaded | Refusal:
        """Load a reserved adapter, and say what the engine holds now."""
        try:
            await self._digests()
            async with self._residents.using(full):
                question = probe_question(self._engine.limits.tokenizer)
                [scores] = await self._engine.score([full], [question])
                if scores.problem is not None:
                    raise RefusedAdapter(f'"{full}": {scores.problem}')
                probe = [likelihood.logprob for likelihood in scores.questions[0]]
                return Loaded(full, scores.adapter_digest, probe)
        except _REFUSALS as error:
            return Refusal(error)

    async def tokenize(self, prompt: Prompt, add_special_tokens: bool) -> list[int] | Refusal:
        """A prompt's token ids."""
        try:
            await self._digests()
            if add_special_tokens and not isinstance(prompt, str):
                raise BadRequest("only a text can be given special tokens", "add_special_tokens")
            tokenizer = self._engine.limits.tokenizer
            return encode_prompt(tokenizer, prompt, add_special_tokens=add_special_tokens)
        except BadRequest as error:
            return Refusal(error)

    async def record_routing_stats(self) -> dict[str, Any]:
        """What the router is told now and then."""
        return {RESIDENT: [] if self._problem is not None else self._residents.names}

    async def check_health(self) -> None:
        """RuntimeError when this replica must be replaced."""
        if self._problem is None:
            self._engine.check_alive()
            self._follower.check_alive()

    async def close(self) -> None:
        """End the engine."""
        if self._problem is None:
            self._follower.close()
            await self._engine.close()

    async def _asked(self, call: Call) -> Asked:
        digests = await self._digests()
        name = resolve(call.model, list(digests), self._base_names)
        return Asked(call, name, digests, self._engine.limits)

    async def _digests(self) -> dict[str, str]:
        if self._problem is not None:
            raise Unavailable(self._problem)
        return {BASE: self._engine.adapters()[BASE], **await self._follower.digests()}


class ServedReplica(Replica):
    """What Ray Serve runs: to end a replica, it awaits this method."""

    async def __del__(self) -> None:
        await self.close()
