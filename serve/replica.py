"""A replica: the base model, its engine and its adapters in one process of the cluster.

Errors that a caller can cause go back as values: thrown, they would fill the log with traces and
reach the caller wrapped in Ray's own types.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, Piece, Question, Scores
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
from serve.probe import probe_question
from serve.prompts import encode_prompt
from serve.registry import resolve
from serve.residents import Residents
from serve.routing import RESIDENT
from serve.shelf import LEASE_S, View
from serve.tokens import TokenTexts

_REFUSALS = (
    UnknownAdapter,
    RefusedAdapter,
    BadRequest,
    BrokenAdapter,
    Overloaded,
    Unavailable,
)
_LOOK_AGAIN_S = 0.05
_PIECES_S = 0.02  # a message costs a millisecond on either side: pieces this close travel together


class Replica:
    """Answers calls with an engine.

    A replica that cannot start says why in `describe`; if it failed instead, Serve would start it
    again and again.
    """

    async def __init__(
        self, base_name: str, base_names: list[str], server: ServerConfig, shelf: Any
    ) -> None:
        self._base_name, self._base_names, self._shelf = base_name, base_names, shelf
        self._name, self._view = uuid.uuid4().hex[:8], View(-1, {})
        self._problem: str | None = None
        try:
            self._engine: Engine = ENGINES[server.engine](base_name, server)
        except UserError as error:
            self._problem = str(error)
            return
        self._texts = TokenTexts(self._engine.limits.tokenizer)
        self._crowd = Crowd(server.max_batch, server.max_queued_requests)
        self._residents = Residents(self._engine, self._fetch)
        self._looked_s = 0.0
        await self._look()
        self._following = asyncio.create_task(self._follow())

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
                    aclosing(self._parts(asked)) as parts,
                ):
                    async for part in parts:
                        yield part
        except _REFUSALS as error:
            yield Refusal(error)

    async def _parts(self, asked: Asked) -> AsyncGenerator[Opened | Delta | Answer]:
        opened = Opened(asked.model, asked.fingerprint, asked.digest)
        gained: asyncio.Queue[tuple[int, Piece] | None] = asyncio.Queue()
        sampling = asyncio.create_task(
            self._engine.sample(asked.requests(), lambda i, piece: gained.put_nowait((i, piece)))
        )
        sampling.add_done_callback(lambda _: gained.put_nowait(None))
        try:
            first = await gained.get()  # a request that is refused opens no stream
            if first is not None:
                yield opened
            async for pieces in _gathered(gained, first):
                yield asked.delta(pieces, self._texts)
            samples = await sampling
            if first is None:
                yield opened
            yield asked.answer(samples, self._texts)
        finally:
            sampling.cancel()

    async def score(
        self, adapters: Sequence[str], questions: Sequence[Question]
    ) -> list[Scores] | Refusal:
        """What each adapter says to the questions, as many adapters at once as there are places."""
        try:
            with self._crowd.place(len(questions)):
                known = list(await self._digests())
                names = [resolve(name, known, self._base_names) for name in adapters]
                scores = []
                for first in range(0, len(names), self._engine.max_adapters):
                    some = names[first : first + self._engine.max_adapters]
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
            if self._following.done():
                raise RuntimeError("the replica no longer hears of adapters that come and go")

    async def close(self) -> None:
        """End the engine."""
        if self._problem is None:
            self._following.cancel()
            await self._engine.close()

    async def _asked(self, call: Call) -> Asked:
        digests = await self._digests()
        name = resolve(call.model, list(digests), self._base_names)
        return Asked(call, name, digests, self._engine.limits)

    async def _digests(self) -> dict[str, str]:
        """What can be asked for. A view whose lease is over may hide what the shelf has told."""
        if self._problem is not None:
            raise Unavailable(self._problem)
        while time.monotonic() > self._looked_s + LEASE_S:
            if self._following.done():
                raise Unavailable("the server's shelf of adapters does not answer")
            await asyncio.wait([self._following], timeout=_LOOK_AGAIN_S)
        return {BASE: self._engine.adapters()[BASE], **self._view.digests}

    async def _fetch(self, full: str) -> Adapter:
        found = await self._shelf.fetch.remote(full)
        if isinstance(found, Refusal):
            raise found.error
        return await found[0]

    async def _follow(self) -> None:
        while True:
            await self._look()

    async def _look(self) -> None:
        """Hear of adapters that came or went, and tell how busy this replica is."""
        stats, resident = self._engine.stats(), self._residents.names
        asked_s = time.monotonic()
        view: View = await self._shelf.watch.remote(self._name, self._view.serial, stats, resident)
        gone = [full for full in self._view.digests if full not in view.digests]
        self._view, self._looked_s = view, asked_s
        self._residents.retire(gone)


class ServedReplica(Replica):
    """What Ray Serve runs: to end a replica, it awaits this method."""

    async def __del__(self) -> None:
        await self.close()


async def _gathered(
    gained: asyncio.Queue[tuple[int, Piece] | None], first: tuple[int, Piece] | None
) -> AsyncIterator[list[tuple[int, Piece]]]:
    """Pieces as they come, those that are close together in one list; the first at once."""
    one = first
    while one is not None:
        pieces = [one]
        while not gained.empty() and (one := gained.get_nowait()) is not None:
            pieces.append(one)
        yield pieces
        if one is None:
            return
        await asyncio.sleep(_PIECES_S)
        one = await gained.get()
