"""The vLLM engine: one `AsyncLLM`, which lives in processes of its own, and its adapters."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from actors.lm.adapter import Adapter
from actors.lm.engine import EngineStats, OnPiece
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import Likelihood, Question, Sample, SampleRequest, Scores
from actors.lm.sampling.row import Row
from actors.lm.scoring.score import check_questions
from serve.engines.vllm.api import Api
from serve.engines.vllm.arguments import MOST_TEMPERATURE
from serve.engines.vllm.caller import Caller
from serve.engines.vllm.meter import Meter
from serve.engines.vllm.residents import Base, Resident, Residents, in_use

T = TypeVar("T")


class VllmEngine:
    """`Engine` on vllm."""

    def __init__(
        self, llm: Any, api: Api, base: Base, meter: Meter, *, max_adapters: int, max_batch: int
    ) -> None:
        self.limits, self.max_adapters = base.limits, max_adapters
        self._llm, self._meter = llm, meter
        self._residents = Residents(llm, api, base, max_adapters)
        self._caller = Caller(llm, api, base.limits)
        self._scoring = asyncio.Semaphore(max_batch)  # samples do not wait behind all questions

    async def load(self, name: str, adapter: Adapter) -> str:
        """Hand an adapter to vllm; a name keeps its content until it is unloaded."""
        return await self._residents.load(name, adapter)

    async def unload(self, name: str) -> None:
        """Refuse new requests for `name` at once, drop it when the last one is answered."""
        await self._residents.unload(name)

    async def sample(
        self, requests: Sequence[SampleRequest], on_piece: OnPiece | None = None
    ) -> list[Sample]:
        """One sample per request. All are checked before the first is computed."""
        found = [self._residents.find(request.adapter) for request in requests]
        with in_use(found):
            rows = [await self._row(r, one) for r, one in zip(requests, found, strict=True)]
            tells = [partial(on_piece, i) if on_piece else None for i in range(len(rows))]
            return await _all(map(self._caller.sample, requests, rows, found, tells))

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        """What each adapter says to all the questions, one adapter after the other."""
        found = [self._residents.find(name) for name in adapters]
        check_questions(questions, self.limits)
        with in_use(found):
            return [await self._score(one, questions) for one in found]

    def adapters(self) -> dict[str, str]:
        """Name -> digest of everything that can answer now."""
        return self._residents.digests()

    def stats(self) -> EngineStats:
        """How busy vllm is."""
        return self._meter.stats(self._caller.asked)

    def check_alive(self) -> None:
        """RuntimeError when vllm's processes are gone."""
        if self._llm.errored:
            raise RuntimeError("vllm has stopped; its log says why")

    async def sleep(self) -> None:
        """Lend the GPU to somebody else: weights move to the host, the cache is dropped.

        What runs is finished first. Requests, loads and unloads that come now wait for `wake`.
        """
        await self._residents.changes.acquire()
        try:
            await self._llm.sleep(level=1, mode="wait")
        except BaseException:
            self._residents.changes.release()
            raise

    async def wake(self) -> None:
        """Take the GPU back."""
        await self._llm.wake_up()
        self._residents.changes.release()

    async def close(self) -> None:
        """End vllm's processes and delete the adapters' files."""
        self._llm.shutdown()
        self._residents.close()

    async def _row(self, request: SampleRequest, resident: Resident) -> Row:
        if request.temperature > MOST_TEMPERATURE:
            raise BadRequest(
                f"temperature={request.temperature}: vllm takes at most {MOST_TEMPERATURE:g}",
                "temperature",
            )
        if request.tempered and request.temperature not in (0, 1):
            raise BadRequest(
                f"temperature={request.temperature}: vllm tells log-probabilities at temperature 1 "
                "only; use that, or server.engine=torch",
                "temperature",
            )
        # vllm holds the text to a schema; the row only sees to it that it is one that can be held.
        parts = {"slot": 0, "adapter_digest": resident.digest, "limits": self.limits}
        if request.json_schema is not None:
            await asyncio.to_thread(partial(Row, request, **parts))
        return Row(replace(request, json_schema=None), **parts)

    async def _score(self, resident: Resident, questions: Sequence[Question]) -> Scores:
        async def one(question: Question, continuation: Sequence[int]) -> Likelihood:
            async with self._scoring:
                return await self._caller.likelihood(resident, question.context_ids, continuation)

        pairs = [(question, ids) for question in questions for ids in question.continuations]
        try:
            told = iter(await _all(one(*pair) for pair in pairs))
        except BrokenAdapter:
            return Scores(resident.digest, [], problem="its log-likelihoods are not finite")
        return Scores(resident.digest, [[next(told) for _ in q.continuations] for q in questions])


async def _all(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; when one fails or the caller goes away, the others are ended first."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
