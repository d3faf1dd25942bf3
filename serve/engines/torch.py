"""The torch engine: adapter slots, one model thread, rows of all callers in shared steps.

Runs wherever torch does. Callers live on the event loop, the model in its thread.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch

from actors.lm.adapter import Adapter
from actors.lm.base import LoadedBase, load_base
from actors.lm.decode.stepper import Stepper
from actors.lm.dense import quicken
from actors.lm.engine import EngineStats, OnPiece
from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, Question, Sample, SampleRequest, Scores
from actors.lm.sampling.limits import limits_of
from actors.lm.sampling.row import Row
from actors.lm.scoring.score import check_questions, score
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.routing import BASE_SLOT
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.engines.torch_thread import ModelThread, Ticket

T = TypeVar("T")


@dataclass
class _Loaded:
    slot: int
    digest: str
    calls: set["asyncio.Future[None]"] = field(default_factory=set)  # that use it


class TorchEngine:
    """`Engine` on plain torch."""

    def __init__(
        self, base: LoadedBase, *, max_adapters: int, max_batch: int, step_tokens: int,
        cache_tokens: int, threads: int,
    ) -> None:  # fmt: skip
        """UserError when the base cannot be run step by step; `ServerConfig` says what each is.

        `threads` is the model thread's share of the cores.
        """
        self.limits, self.max_adapters = limits_of(base), max_adapters
        quicken(base.model)
        self._bank, self._step_tokens = SlotBank(base, max_adapters), step_tokens
        self._stepper = Stepper(
            self._bank, cache_tokens=cache_tokens, step_tokens=step_tokens, max_rows=max_batch
        )
        self._on_gpu = base.model.device.type == "cuda"
        self._loaded = {BASE: _Loaded(BASE_SLOT, base.digest)}
        self._loading = asyncio.Lock()
        self._moves: set[asyncio.Task[Any]] = set()
        self._thread = ModelThread(self._stepper, threads)

    async def load(self, name: str, adapter: Adapter) -> str:
        """Put an adapter into a slot; a name keeps its content until it is unloaded."""
        # A caller that no longer waits for it must not leave a slot taken that nothing names.
        return await self._finished(self._load(name, adapter))

    async def unload(self, name: str) -> None:
        """Refuse new requests for `name` at once, free its slot when the last one is answered."""
        if name == BASE:
            raise RefusedAdapter("the base cannot be unloaded")
        loaded = self._find(name)
        del self._loaded[name]
        # A caller that no longer waits for it must not leave a slot taken for ever.
        await self._finished(self._free(loaded))

    async def sample(
        self, requests: Sequence[SampleRequest], on_piece: OnPiece | None = None
    ) -> list[Sample]:
        """One sample per request. All are checked before the first is computed."""
        found = [self._find(request.adapter) for request in requests]
        with _in_use(found):
            rows = [await self._row(r, one) for r, one in zip(requests, found, strict=True)]
            tickets = [self._ticket(i, row, on_piece) for i, row in enumerate(rows)]
            answers = [ticket.answer for ticket in tickets]
            self._thread.submit(tickets)
            try:
                return await asyncio.gather(*answers)
            finally:
                for answer in answers:  # one that failed leaves nobody to want the others
                    answer.cancel()

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        """What each adapter says to all the questions, in passes of their own."""
        found = [self._find(name) for name in adapters]
        check_questions(questions, self.limits)
        slots, digests = [one.slot for one in found], [one.digest for one in found]
        with _in_use(found):
            return await self._thread.score(
                score(self._bank, slots, digests, questions, self._step_tokens)
            )

    async def sleep(self) -> None:
        """Leave the device to somebody else; on a CPU there is nothing to leave."""
        await self._thread.rest(self._stepper.leave_device if self._on_gpu else _stay)

    async def wake(self) -> None:
        """Take it back."""
        await self._thread.go_on(self._stepper.return_to_device if self._on_gpu else _stay)

    def adapters(self) -> dict[str, str]:
        """Name -> digest of everything that can answer now."""
        return {name: loaded.digest for name, loaded in self._loaded.items()}

    def stats(self) -> EngineStats:
        """How busy it was after its last step."""
        return self._thread.stats

    def check_alive(self) -> None:
        """RuntimeError when the model's thread has ended or does not come back."""
        self._thread.check_alive()

    async def close(self) -> None:
        """End the model's thread; calls that wait fail with a RuntimeError."""
        await asyncio.to_thread(self._thread.close)

    def _find(self, name: str) -> _Loaded:
        if name not in self._loaded:
            raise UnknownAdapter(name, list(self._loaded))
        return self._loaded[name]

    async def _finished(self, move: Coroutine[Any, Any, T]) -> T:
        """What it returns; it comes to its end also when its caller goes away."""
        task = asyncio.create_task(move)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)
        return await asyncio.shield(task)

    async def _load(self, name: str, adapter: Adapter) -> str:
        digest = await asyncio.to_thread(lambda: adapter.digest)
        async with self._loading:
            known = self._loaded.get(name)
            if known is None:
                slot = await self._thread.call(partial(self._bank.load, adapter))
                self._loaded[name] = _Loaded(slot, digest)
            elif known.digest != digest:
                raise RefusedAdapter(f'"{name}" is already loaded with another content')
        return digest

    async def _free(self, loaded: _Loaded) -> None:
        if loaded.calls:
            await asyncio.wait(loaded.calls)

        def free() -> None:
            self._bank.unload(loaded.slot)
            self._stepper.forget(loaded.slot)

        await self._thread.call(free)

    async def _row(self, request: SampleRequest, loaded: _Loaded) -> Row:
        make = partial(
            Row, request, slot=loaded.slot, adapter_digest=loaded.digest, limits=self.limits
        )
        # To compile a schema may take long; everything else takes microseconds.
        row = make() if request.json_schema is None else await asyncio.to_thread(make)
        self._stepper.check(request)
        return row

    def _ticket(self, index: int, row: Row, on_piece: OnPiece | None) -> Ticket:
        answer: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(_abandon, row))
        return Ticket(row, answer, None if on_piece is None else partial(on_piece, index))


@contextmanager
def _in_use(found: Sequence[_Loaded]) -> Iterator[None]:
    """Keep the slots until the work is over."""
    call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for loaded in found:
        loaded.calls.add(call)
    try:
        yield
    finally:
        for loaded in found:
            loaded.calls.discard(call)
        call.set_result(None)


def _stay() -> None:
    """What an engine on a CPU does to leave its device."""


def _abandon(row: Row, answer: "asyncio.Future[Sample]") -> None:
    """A row whose caller went away frees its seat."""
    if answer.cancelled():
        row.abandoned = True


def start_torch_engine(base_model: str, server: ServerConfig) -> TorchEngine:
    """Load the base and start its engine; UserError when there is no such base or device."""
    device = server.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise UserError("server.device=cuda: no GPU is visible here; use server.device=auto.")
    return TorchEngine(
        load_base(base_model, getattr(torch, server.dtype), device),
        max_adapters=server.max_adapters,
        max_batch=server.max_batch,
        step_tokens=server.step_tokens,
        cache_tokens=server.cache_tokens,
        # Ray sets OMP_NUM_THREADS to the CPUs that an actor reserves, which is not what it may use.
        threads=server.threads or max(1, cores() // server.num_replicas),
    )


def cores() -> int:
    """Of this machine, as many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
