"""An engine without a model: its tokens are its adapter's digest, one every `step_s`."""

import asyncio
from collections.abc import Sequence

from small_base import byte_tokenizer

from actors.lm.adapter import Adapter
from actors.lm.engine import EngineStats, Limits, OnPiece
from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from actors.lm.requests import (
    BASE,
    Likelihood,
    Piece,
    Question,
    Sample,
    SampleRequest,
    Scores,
    TokenLogprob,
)

BASE_DIGEST = "b" * 64


class FakeEngine:
    """`actors.lm.engine.Engine`."""

    def __init__(self, max_adapters: int = 2, step_s: float = 0.0) -> None:
        tokenizer = byte_tokenizer()
        self.limits = Limits(tokenizer, frozenset(), 512, len(tokenizer))
        self.max_adapters, self.step_s = max_adapters, step_s
        self.loaded: dict[str, str] = {BASE: BASE_DIGEST}
        self.running: list[str] = []
        self.loads = 0
        self.sleeps = False
        self.problem: str | None = None  # of every adapter's scores
        self.death: str | None = None

    async def load(self, name: str, adapter: Adapter) -> str:
        assert len(self.loaded) <= self.max_adapters
        await asyncio.sleep(self.step_s)
        if adapter.base_model != "small":
            raise RefusedAdapter(f'it was trained on "{adapter.base_model}"')
        self.loads += 1
        self.loaded[name] = adapter.digest
        return adapter.digest

    async def unload(self, name: str) -> None:
        assert name not in self.running
        del self.loaded[name]

    async def sample(
        self, requests: Sequence[SampleRequest], on_piece: OnPiece | None = None
    ) -> list[Sample]:
        while self.sleeps:
            await asyncio.sleep(0)
        for request in requests:
            self._check(request.adapter)
        return await asyncio.gather(
            *(self._row(i, request, on_piece) for i, request in enumerate(requests))
        )

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        for adapter in adapters:
            self._check(adapter)
        told = [[Likelihood(-1.0, True) for _ in one.continuations] for one in questions]
        return [
            Scores(self.loaded[name], [] if self.problem else told, self.problem)
            for name in adapters
        ]

    async def sleep(self) -> None:
        assert not self.sleeps
        while self.running:
            await asyncio.sleep(0)
        self.sleeps = True

    async def wake(self) -> None:
        assert self.sleeps
        self.sleeps = False

    def adapters(self) -> dict[str, str]:
        return dict(self.loaded)

    def stats(self) -> EngineStats:
        return EngineStats(len(self.running), 0, 0, 0, 0, 0, 0)

    def check_alive(self) -> None:
        if self.death is not None:
            raise RuntimeError(self.death)

    async def close(self) -> None:
        pass

    def _check(self, name: str) -> None:
        if name not in self.loaded:
            raise UnknownAdapter(name, list(self.loaded))

    async def _row(self, i: int, request: SampleRequest, on_piece: OnPiece | None) -> Sample:
        digest = self.loaded[request.adapter]
        text = digest[: request.max_tokens]
        told = [TokenLogprob(-1.0, ()) for _ in text]
        self.running.append(request.adapter)
        try:
            for character in text:
                await asyncio.sleep(self.step_s)
                if on_piece is not None:
                    on_piece(i, Piece([ord(character) % 256], told[:1], character))
        finally:
            self.running.remove(request.adapter)
        ids = [ord(character) % 256 for character in text]
        return Sample(ids, told, text, "length", digest)
