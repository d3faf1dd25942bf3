"""Rollouts from the server: versions come, answer side by side and go; faults are waited for."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from replica_house import Handle, House, adapter, run_house
from small_base import byte_tokenizer

from actors.lm.refusals import BadRequest, UnknownAdapter
from actors.lm.requests import BASE
from actors.lm.sampler import RemotePolicy
from configs.errors import JobFailed
from configs.sections import SamplingConfig
from serve.calls import Call, Overloaded, Unavailable
from serve.client import ServerClient
from serve.policy_sampler import ServerSampler
from serve.probe import probe_question

SAMPLING = SamplingConfig(max_tokens=8)
PROBE = probe_question(byte_tokenizer())
AWAY = Unavailable("no replica")

Test = Callable[[ServerSampler, Handle], Awaitable[None]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`run(test, *engines)` runs `test(sampler, handle)`; no pause takes time."""
    sleep = asyncio.sleep
    monkeypatch.setattr("serve.policy_sampler._pause", lambda seconds: sleep(0))
    monkeypatch.setattr(ServerClient, "has_shelf", lambda client: True)  # which asks Ray

    def run(test: Test, *engines: FakeEngine) -> None:
        async def with_sampler(house: House) -> None:
            handle = Handle(house)
            await test(ServerSampler(handle.client(), PROBE, patience_s=2.0), handle)

        run_house(with_sampler, monkeypatch, tmp_path, *engines)

    return run


def test_a_version_is_acknowledged_and_answers_as_itself(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        published = [await sampler.publish("run-1", v, adapter(v)) for v in (1, 2)]
        assert [one.model for one in published] == ["run-1@1", "run-1@2"]
        assert [one.digest for one in published] == [adapter(v).digest for v in (1, 2)]
        assert [len(one.probe) for one in published] == [len(PROBE.continuations)] * 2
        asked = [sampler.sample(one.model, [5, 6], 3, SAMPLING, seed=7) for one in published]
        for one, group in zip(published, await asyncio.gather(*asked), strict=True):
            assert [sample.adapter_digest for sample in group] == [one.digest] * 3
        await sampler.retire("run-1@1")
        with pytest.raises(JobFailed, match="run-1@1"):
            await sampler.sample("run-1@1", [5], 1, SAMPLING, seed=7)
        await sampler.retire("run-1@1")  # its answer was lost, and it is asked again

    run(test)


def test_what_is_asked_of_the_server(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Call] = []
    ask = ServerClient.ask

    def noting(self: ServerClient, call: Call) -> Any:
        asked.append(call)
        return ask(self, call)

    monkeypatch.setattr(ServerClient, "ask", noting)
    sampling = SamplingConfig(temperature=0.7, max_tokens=3, stop=["\n"])

    async def test(sampler: ServerSampler, handle: Handle) -> None:
        await sampler.sample(BASE, (5, 6), 4, sampling, seed=9)

    run(test)
    [call] = asked
    assert call == Call(
        BASE, [[5, 6]], max_tokens=3, temperature=0.7, stop=("\n",), seed=9, n=4, tempered=True
    )


def test_what_earlier_processes_published_goes(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        for name, version in (("run-1", 1), ("run-1", 2), ("run-2", 1)):
            await sampler.publish(name, version, adapter(version))
        await sampler.open()
        assert list((await sampler.client.describe()).adapters) == [BASE]

    run(test)


def test_a_version_that_is_there_with_the_same_content_is_published(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        first = await sampler.publish("run-1", 1, adapter(1))
        assert await sampler.publish("run-1", 1, adapter(1)) == first
        with pytest.raises(JobFailed, match=r"run-1@1.*already used"):
            await sampler.publish("run-1", 1, adapter(2))
        with pytest.raises(JobFailed, match="somebody/else"):
            await sampler.publish("run-1", 2, adapter(2, base="somebody/else"))

    run(test)


def test_a_replica_that_never_loaded_a_version_answers_it(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        published = await sampler.publish("run-1", 1, adapter(1))
        await handle.house.replicas[0].close()
        handle.at = 1
        [sample] = await sampler.sample(published.model, [5], 1, SAMPLING, seed=1)
        assert sample.adapter_digest == published.digest

    run(test, FakeEngine(), FakeEngine())


def test_a_server_that_is_away_for_a_moment_is_waited_for(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        handle.faults = [AWAY, AWAY]
        published = await sampler.publish("run-1", 1, adapter(1))
        handle.faults = [AWAY, Overloaded("full", 0.5), AWAY]
        assert len(await sampler.sample(published.model, [5], 2, SAMPLING, seed=1)) == 2
        assert not handle.faults

    run(test)


def test_a_server_that_stays_away_ends_the_run(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        handle.faults = [Overloaded("full", 60.0)]
        with pytest.raises(JobFailed, match=r"too busy for 2 s \(sampling from base\): full"):
            await sampler.sample(BASE, [5], 2, SAMPLING, seed=1)
        impatient = replace(sampler, patience_s=0.0)
        handle.faults = [AWAY]
        with pytest.raises(JobFailed, match=r"not there for 0 s \(.*\): no replica"):
            await impatient.sample(BASE, [5], 2, SAMPLING, seed=1)

    run(test)


def test_a_server_without_its_shelf_is_not_waited_for(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerClient, "has_shelf", lambda client: False)

    async def test(sampler: ServerSampler, handle: Handle) -> None:
        handle.faults = [AWAY, AWAY]
        with pytest.raises(JobFailed, match=r"lost its shelf.*\(sampling from base\)"):
            await sampler.sample(BASE, [5], 1, SAMPLING, seed=1)
        assert handle.faults == [AWAY]

    run(test)


def test_what_waiting_does_not_mend_ends_the_run(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        handle.faults = [BadRequest("the context is full")]
        with pytest.raises(JobFailed, match="refused sampling from base: the context is full"):
            await sampler.sample(BASE, [5], 1, SAMPLING, seed=1)
        handle.faults = [UnknownAdapter("run-1@1", [BASE])]
        with pytest.raises(JobFailed, match="run-1@1"):
            await sampler.sample("run-1@1", [5], 1, SAMPLING, seed=1)
        with pytest.raises(TypeError):
            await sampler.publish("run-1", 1, RemotePolicy("tinker://x", "path:x"))

    run(test)


def test_it_sleeps_and_wakes_on_all_replicas(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        published = await sampler.publish("run-1", 1, adapter(1))
        running = asyncio.create_task(sampler.sample(published.model, [5], 1, SAMPLING, seed=1))
        while not handle.house.engines[0].running:
            await asyncio.sleep(0)
        await sampler.sleep()
        assert running.done()
        assert [engine.sleeps for engine in handle.house.engines] == [True, True]
        waiting = asyncio.create_task(sampler.sample(published.model, [5], 1, SAMPLING, seed=1))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await sampler.wake()
        assert [engine.sleeps for engine in handle.house.engines] == [False, False]
        assert await waiting == await running
        await sampler.publish("run-1", 2, adapter(2))

    run(test, FakeEngine(step_s=0.005), FakeEngine(step_s=0.005))


def test_a_replica_that_comes_while_the_others_sleep_sleeps_too(run: Any) -> None:
    async def test(sampler: ServerSampler, handle: Handle) -> None:
        await sampler.sleep()
        late = FakeEngine()
        await handle.house.start_replica(late)
        while not late.sleeps:
            await asyncio.sleep(0)
        await sampler.open()  # as a trainer does that was started again
        assert not late.sleeps

    run(test)


def test_it_travels() -> None:
    sampler = ServerSampler(ServerClient(_Plain(), "shelf"), PROBE)  # type: ignore[arg-type]
    there = pickle.loads(pickle.dumps(sampler))
    assert (there.probe, there.client._shelf) == (PROBE, "shelf")


class _Plain:
    """A handle that can be pickled."""

    def options(self, stream: bool) -> "_Plain":
        return self
