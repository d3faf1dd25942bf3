"""The torch engine: adapter slots, one model thread, rows of all callers in shared batches.

Runs wherever torch does. Callers live on the event loop; the model lives in one worker thread,
which is the only one that touches the slots.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch

from actors.lm.adapter import Adapter
from actors.lm.base import LoadedBase, load_base
from actors.lm.decode.batch import generate
from actors.lm.refusals import BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, Sample, SampleRequest, Score, ScoreRequest
from actors.lm.sampling.row import Row, limits_of
from actors.lm.scoring.score import ScoreJob, check_score, score
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.linear import BASE_SLOT
from configs.errors import UserError
from configs.sections import ServerConfig

# Callers that start together should share the first batch, not wait behind a batch of one.
_GATHERING_S = 0.01

T = TypeVar("T")


@dataclass
class _Loaded:
    slot: int
    digest: str
    in_use: set["asyncio.Future[object]"] = field(default_factory=set)


@dataclass(frozen=True)
class _Waiting:
    row: Row
    answer: "asyncio.Future[Sample]"


class TorchEngine:
    """`Engine` on plain torch. `threads` is the model thread's share of the cores."""

    def __init__(
        self, base: LoadedBase, *, max_adapters: int, max_batch: int, threads: int
    ) -> None:
        self.limits = limits_of(base)
        self._bank, self._max_batch = SlotBank(base, max_adapters), max_batch
        self._loaded = {BASE: _Loaded(BASE_SLOT, base.digest)}
        self._waiting: deque[_Waiting] = deque()
        self._batches: asyncio.Task[None] | None = None
        self._loading = asyncio.Lock()
        # OpenMP's thread count belongs to the thread that sets it.
        self._thread = ThreadPoolExecutor(
            1, "model", initializer=torch.set_num_threads, initargs=(threads,)
        )

    async def load(self, name: str, adapter: Adapter) -> str:
        """Put an adapter into a slot; a name keeps its content until it is unloaded."""
        digest = adapter.digest
        async with self._loading:
            known = self._loaded.get(name)
            if known is None:
                slot = await self._in_thread(partial(self._bank.load, adapter))
                self._loaded[name] = _Loaded(slot, digest)
            elif known.digest != digest:
                raise RefusedAdapter(f'"{name}" is already loaded with another content')
        return digest

    async def unload(self, name: str) -> None:
        """Refuse new requests for `name` at once, free its slot when the last one is answered."""
        if name == BASE:
            raise RefusedAdapter("the base cannot be unloaded")
        loaded = self._find(name)
        del self._loaded[name]
        if loaded.in_use:
            await asyncio.wait(loaded.in_use)
        await self._in_thread(partial(self._bank.unload, loaded.slot))

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """One sample per request. All are checked before the first is computed."""
        found = [self._find(request.adapter) for request in requests]
        rows = [
            Row(request, slot=one.slot, adapter_digest=one.digest, limits=self.limits)
            for request, one in zip(requests, found, strict=True)
        ]
        answers: list[asyncio.Future[Sample]] = []
        for row, one in zip(rows, found, strict=True):
            answer: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(partial(_abandon, row))
            self._waiting.append(_Waiting(row, _held(one, answer)))
            answers.append(answer)
        if self._waiting and (self._batches is None or self._batches.done()):
            self._batches = asyncio.create_task(self._run_batches())
        return await asyncio.gather(*answers)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """One score per request, computed in one batch of this call's own."""
        jobs, found = [], [self._find(request.adapter) for request in requests]
        for request, one in zip(requests, found, strict=True):
            check_score(request, self.limits)
            jobs.append(ScoreJob(request, one.slot, one.digest))
        work = self._in_thread(partial(score, self._bank, jobs, self._max_batch))
        for one in found:
            _held(one, work)
        return await work

    def adapters(self) -> dict[str, str]:
        """Name -> digest of everything that can answer now."""
        return {name: loaded.digest for name, loaded in self._loaded.items()}

    def _find(self, name: str) -> _Loaded:
        if name not in self._loaded:
            raise UnknownAdapter(name, list(self._loaded))
        return self._loaded[name]

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run_batches(self) -> None:
        await asyncio.sleep(_GATHERING_S)
        while self._waiting:
            room = min(self._max_batch, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(room)]
            batch = [waiting for waiting in taken if not waiting.answer.done()]
            if not batch:
                continue
            work = self._in_thread(partial(self._run_batch, batch, asyncio.get_running_loop()))
            await asyncio.wait([work])
            # Whatever broke the batch belongs to those who wait for it, not to this loop.
            if error := work.exception():
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)

    def _run_batch(self, batch: list[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """In the model thread: answer each row as soon as it is finished."""
        answers = {id(waiting.row): waiting.answer for waiting in batch}
        for row in generate(self._bank, [waiting.row for waiting in batch]):
            loop.call_soon_threadsafe(_answer, answers[id(row)], row)


def _held(loaded: _Loaded, work: "asyncio.Future[T]") -> "asyncio.Future[T]":
    """Keep the slot until the work is over."""
    loaded.in_use.add(work)  # type: ignore[arg-type]
    work.add_done_callback(loaded.in_use.discard)
    return work


def _abandon(row: Row, answer: "asyncio.Future[Sample]") -> None:
    """A row whose caller went away frees its place in the batch."""
    if answer.cancelled():
        row.abandoned = True


def _answer(answer: "asyncio.Future[Sample]", row: Row) -> None:
    if answer.done():  # its caller went away
        return
    try:
        answer.set_result(row.result())
    except BrokenAdapter as error:
        answer.set_exception(error)


def start_torch_engine(base_model: str, server: ServerConfig) -> TorchEngine:
    """Load the base and start its engine; UserError when there is no such base or device."""
    device = server.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise UserError("server.device=cuda: no GPU is visible here; use server.device=auto.")
    base = load_base(base_model, getattr(torch, server.dtype), device)
    # Ray sets OMP_NUM_THREADS to the CPUs that an actor reserves, which is not what it may use.
    threads = max(1, _cores() // server.num_replicas)
    return TorchEngine(
        base, max_adapters=server.max_adapters, max_batch=server.max_batch, threads=threads
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
