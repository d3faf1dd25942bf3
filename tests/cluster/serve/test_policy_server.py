"""A trainer's sampler on Ray: versions side by side, a replica that dies, sleep."""

import asyncio
import sys
from contextlib import suppress

import psutil
import pytest
import ray
import ray.cloudpickle
import ray.serve as ray_serve

from actors.lm.adapter import Adapter
from actors.lm.requests import BASE, Sample
from actors.lm.sampler import Published
from configs.errors import JobFailed
from configs.sections import SamplingConfig, ServerConfig
from serve.launch import policy_server
from serve.policy_sampler import ServerSampler

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker has no tests

CPU = ServerConfig(device="cpu", max_adapters=2, max_batch=16)
SAMPLING = SamplingConfig(max_tokens=24, temperature=0.7)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("ray_cluster")
def test_versions_of_a_policy(base_model: str, adapters: dict[str, Adapter]) -> None:
    with policy_server(base_model, CPU) as sampler:
        [app] = ray_serve.status().applications
        ray.get(_train.remote(sampler, adapters, app))
    assert not ray_serve.status().applications


@ray.remote(num_cpus=0)
def _train(sampler: ServerSampler, adapters: dict[str, Adapter], app: str) -> None:
    """What the leader of a training does, in a process of its own."""
    asyncio.run(_hand_over(sampler, adapters, app))


async def _hand_over(sampler: ServerSampler, adapters: dict[str, Adapter], app: str) -> None:
    policies = list(adapters.values())
    await sampler.publish("dead-run", 1, policies[0])
    await sampler.open()
    first = await sampler.publish("run", 1, policies[0])
    assert first.digest == policies[0].digest
    before = asyncio.create_task(_ask(sampler, first))
    second = await sampler.publish("run", 2, policies[1])  # while the first one answers
    assert second.digest == policies[1].digest
    assert second.probe != first.probe
    both = list(await asyncio.gather(before, _ask(sampler, second)))
    await _lose_the_replica(sampler, [first, second], both, app)
    await sampler.sleep()
    waiting = asyncio.create_task(_ask(sampler, second))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await sampler.wake()
    assert _tokens(await waiting) == _tokens(both[1])
    await sampler.retire(first.model)
    with pytest.raises(JobFailed, match="run@1"):
        await sampler.sample(first.model, [65], 1, SAMPLING, seed=1)
    described = await sampler.client.describe()
    assert described.adapters.keys() == {BASE, second.model}


async def _ask(sampler: ServerSampler, version: Published) -> list[list[Sample]]:
    asked = [sampler.sample(version.model, [65, 66 + i], 4, SAMPLING, seed=i) for i in range(12)]
    groups = await asyncio.gather(*asked)
    assert {sample.adapter_digest for group in groups for sample in group} == {version.digest}
    return groups


async def _lose_the_replica(
    sampler: ServerSampler,
    versions: list[Published],
    expected: list[list[list[Sample]]],
    app: str,
) -> None:
    """The only one, in the middle of rollouts: Serve's next one answers the same tokens."""
    asked = [asyncio.create_task(_ask(sampler, version)) for version in versions]
    while not any(stats.running for _, stats, _ in await sampler.client.stats()):
        await asyncio.sleep(0)
    replica_of(app).kill()
    answers = await asyncio.gather(*asked)
    assert [_tokens(one) for one in answers] == [_tokens(one) for one in expected]


def replica_of(app: str) -> psutil.Process:
    """The process of an application's only replica."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            title = " ".join(process.cmdline())
            if title.startswith("ray::ServeReplica") and app in title:
                return process
    raise AssertionError(f"{app} has no replica")


def _tokens(groups: list[list[Sample]]) -> list[list[list[int]]]:
    return [[sample.token_ids for sample in group] for group in groups]
