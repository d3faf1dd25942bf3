"""What the torch engine adds to the contract: its steps fail, and are left, without harm."""

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.base import LoadedBase, load_base
from actors.lm.refusals import BadRequest, RefusedAdapter
from actors.lm.requests import Piece, Question, SampleRequest
from serve.engines import torch_thread
from serve.engines.torch import TorchEngine

T = TypeVar("T")
_ENDLESS = SampleRequest("base", [5], max_tokens=500, temperature=1.0, seed=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Adapter]]:
    """A base's path and three adapters for it."""
    folder: Path = tmp_path_factory.mktemp("small")
    base = write_small_base(folder / "base")
    paths = [write_small_adapter(folder / str(seed), base, seed) for seed in range(3)]
    return base, [read_adapter(path) for path in paths]


@pytest.fixture
def base(small: tuple[str, list[Adapter]]) -> LoadedBase:
    return load_base(small[0])


@pytest.fixture
def engine(base: LoadedBase) -> Iterator[TorchEngine]:
    engine = TorchEngine(
        base, max_adapters=2, max_batch=4, step_tokens=64, cache_tokens=4096, threads=1
    )
    engine.limits = replace(engine.limits, end_ids=frozenset())
    yield engine
    asyncio.run(engine.close())


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 60))


def _fails(*_: Any) -> None:
    raise torch.OutOfMemoryError("out of memory")


def test_a_step_that_fails_reaches_its_callers_and_the_next_one_runs(
    engine: TorchEngine, base: LoadedBase
) -> None:
    request = replace(_ENDLESS, max_tokens=2)

    async def main() -> None:
        hook = base.model.register_forward_pre_hook(_fails)
        calls = [engine.sample([request, request]) for _ in range(6)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [torch.OutOfMemoryError] * 6
        scores = asyncio.ensure_future(engine.score(["base"], [Question([5], [[6]])]))
        with pytest.raises(torch.OutOfMemoryError):
            await scores
        hook.remove()
        [sample] = await engine.sample([request])
        assert len(sample.token_ids) == 2
        engine.check_alive()

    _run(main())


def test_two_loads_of_one_name_at_once_agree_on_its_content(
    engine: TorchEngine, small: tuple[str, list[Adapter]]
) -> None:
    async def main() -> None:
        loads = [engine.load("same@1", adapter) for adapter in small[1][:2]]
        first, second = await asyncio.gather(*loads, return_exceptions=True)
        assert engine.adapters()["same@1"] == first
        assert isinstance(second, RefusedAdapter)

    _run(main())


def test_a_cancelled_call_leaves_the_batch_to_others(engine: TorchEngine) -> None:
    async def main() -> None:
        leaving = asyncio.create_task(engine.sample([_ENDLESS] * 8))
        while engine.stats().running < 4:
            await asyncio.sleep(0.001)
        leaving.cancel()
        await engine.sample([replace(_ENDLESS, max_tokens=2)])
        while engine.stats().running or engine.stats().waiting:
            await asyncio.sleep(0.001)
        assert engine.stats().generated_tokens < 8 * 500

    _run(main())


def test_callers_that_leave_at_any_moment_harm_nobody(engine: TorchEngine) -> None:
    rng = random.Random(5)
    prompts = [[5 + i % 7] * (3 * i + 1) for i in range(40)]
    asked = [replace(_ENDLESS, prompt_ids=ids, max_tokens=3 + i) for i, ids in enumerate(prompts)]

    async def main() -> None:
        calls = [asyncio.create_task(engine.sample([request])) for request in asked]
        leaving = rng.sample(range(40), 20)
        for i in leaving:
            await asyncio.sleep(rng.random() / 100)
            calls[i].cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        for i, outcome in enumerate(outcomes):
            if isinstance(outcome, asyncio.CancelledError):
                assert i in leaving
                continue
            assert isinstance(outcome, list)
            [alone] = await engine.sample([asked[i]])
            assert outcome[0].token_ids == alone.token_ids
        assert engine.stats().running == engine.stats().waiting == 0

    _run(main())


def test_a_schema_that_is_refused_leaves_its_siblings_unsampled(engine: TorchEngine) -> None:
    async def main() -> None:
        with pytest.raises(BadRequest):
            await engine.sample([_ENDLESS, replace(_ENDLESS, json_schema="{")])
        assert engine.stats().generated_tokens == 0

    _run(main())


def test_a_fault_of_the_one_who_listens_is_its_own(engine: TorchEngine) -> None:
    def deaf(_: int, __: Piece) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        listening = engine.sample([replace(_ENDLESS, max_tokens=9)], deaf)
        others = engine.sample([replace(_ENDLESS, max_tokens=9)])
        fault, samples = await asyncio.gather(listening, others, return_exceptions=True)
        assert isinstance(fault, ZeroDivisionError)
        assert isinstance(samples, list)
        assert len(samples[0].token_ids) == 9
        with pytest.raises(ZeroDivisionError):
            await engine.sample([_ENDLESS], deaf)
        while engine.stats().running:
            await asyncio.sleep(0.001)
        assert engine.stats().generated_tokens < 500, "a row went on for nobody"

    _run(main())


def test_an_unload_whose_caller_goes_away_still_frees_the_slot(
    engine: TorchEngine, small: tuple[str, list[Adapter]]
) -> None:
    one, two, three = small[1]

    async def main() -> None:
        await engine.load("one@1", one)
        await engine.load("two@1", two)
        running = asyncio.create_task(engine.sample([replace(_ENDLESS, adapter="one@1")]))
        await asyncio.sleep(0)
        unloading = asyncio.create_task(engine.unload("one@1"))
        await asyncio.sleep(0)
        unloading.cancel()
        assert len((await running)[0].token_ids) == 500
        for _ in range(1000):
            try:
                await engine.load("three@1", three)
                break
            except RefusedAdapter:
                await asyncio.sleep(0.001)
        assert engine.adapters()["three@1"] == three.digest

    _run(main())


def test_a_load_whose_caller_goes_away_leaves_no_nameless_slot(
    engine: TorchEngine, base: LoadedBase, small: tuple[str, list[Adapter]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    begun, let_go = threading.Event(), threading.Event()
    load = engine._bank.load

    def slow_load(adapter: Adapter) -> int:
        begun.set()
        let_go.wait(30)
        return load(adapter)

    async def main() -> None:
        monkeypatch.setattr(engine._bank, "load", slow_load)
        loading = asyncio.create_task(engine.load("one@1", small[1][0]))
        await asyncio.to_thread(begun.wait, 30)
        loading.cancel()
        await asyncio.wait([loading])
        let_go.set()
        await engine.load("two@1", small[1][1])
        await engine.unload("one@1")
        await engine.load("three@1", small[1][2])

    _run(main())


def test_scoring_and_sampling_take_turns(engine: TorchEngine) -> None:
    questions = [Question([5 + i, 6], [[7], [8, 9]]) for i in range(200)]

    async def main() -> None:
        sampling = asyncio.create_task(engine.sample([_ENDLESS] * 4))
        scores = await engine.score(["base", "base"], questions)
        assert not sampling.done(), "scoring waited for all sampling to end"
        assert len(scores[0].questions) == 200
        assert scores[0] == scores[1]
        await sampling

    _run(main())


def test_a_closed_engine_leaves_nobody_waiting(engine: TorchEngine) -> None:
    async def main() -> None:
        waiting = [asyncio.create_task(engine.sample([_ENDLESS])) for _ in range(8)]
        while not engine.stats().running:
            await asyncio.sleep(0.001)
        await engine.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 8
        with pytest.raises(RuntimeError, match="ended"):
            engine.check_alive()
        with pytest.raises(RuntimeError, match="closed"):
            await engine.sample([replace(_ENDLESS, max_tokens=1)])

    _run(main())


def test_a_step_that_does_not_come_back_is_noticed(
    engine: TorchEngine, base: LoadedBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, let_go = threading.Event(), threading.Event()

    def hangs(*_: Any) -> None:
        stuck.set()
        let_go.wait(30)

    async def main() -> None:
        hook = base.model.register_forward_pre_hook(hangs)
        call = asyncio.create_task(engine.sample([replace(_ENDLESS, max_tokens=1)]))
        await asyncio.to_thread(stuck.wait, 30)
        engine.check_alive()
        monkeypatch.setattr(torch_thread, "_STUCK_S", 0.0)
        with pytest.raises(RuntimeError, match="at one step"):
            engine.check_alive()
        hook.remove()
        let_go.set()
        await call
        await asyncio.sleep(0.05)
        engine.check_alive()

    _run(main())


def test_what_leaves_a_gpu_comes_back(
    engine: TorchEngine, small: tuple[str, list[Adapter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a CPU in the GPU's place: the cache goes, and everything answers as before."""
    monkeypatch.setattr(engine, "_on_gpu", True)
    requests = [SampleRequest(name, [5] * 40, max_tokens=6, seed=1) for name in ("base", "one@1")]

    async def main() -> None:
        await engine.load("one@1", small[1][0])
        before = await engine.sample(requests)
        assert engine.stats().cache_tokens_used
        await engine.sleep()
        memory = engine._stepper._cache.memory
        assert not memory.slabs
        assert memory._store.keys.numel() == 0
        await engine.wake()
        assert await engine.sample(requests) == before
        again = await engine.sample(requests)  # by what is stored since
        assert [one.token_ids for one in again] == [one.token_ids for one in before]

    _run(main())


def test_who_waits_for_a_sleep_when_the_engine_ends_is_told(engine: TorchEngine) -> None:
    async def main() -> None:
        running = asyncio.ensure_future(engine.sample([_ENDLESS]))
        while not engine.stats().running:
            await asyncio.sleep(0)
        sleeping = asyncio.ensure_future(engine.sleep())
        held = asyncio.ensure_future(engine.sample([_ENDLESS]))
        await asyncio.sleep(0)
        await engine.close()
        outcomes = await asyncio.gather(running, sleeping, held, return_exceptions=True)
        assert all(isinstance(one, RuntimeError) for one in outcomes)

    _run(main())
