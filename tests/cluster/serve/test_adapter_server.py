"""The server through its handle, as the jobs use it."""

import asyncio

import psutil
import pytest
import ray.serve as ray_serve

from actors.lm.adapter import Adapter
from actors.lm.messages import user
from actors.lm.refusals import BadRequest, UnknownAdapter
from configs.errors import UserError
from configs.sections import SamplingConfig, ServerConfig
from serve.adapter_client import AdapterClient
from serve.launch import adapter_server

CPU = ServerConfig(device="cpu", max_adapters=4, max_batch=16, num_replicas=2)


@pytest.mark.usefixtures("ray_cluster")
def test_many_conversations_over_two_replicas(
    base_model: str, adapters: dict[str, Adapter]
) -> None:
    given = {**adapters, "one@07": adapters["two"]}  # newer than "one", which keeps its adapter
    with adapter_server(base_model, given, CPU) as client:
        assert client.adapters().keys() == {"base", *given}
        assert all(client.adapters()[name] == given[name].digest for name in given)
        asyncio.run(_ask_many(client))
        asyncio.run(_ask_wrongly(client))
        asyncio.run(_lose_a_replica(client))
    assert not ray_serve.status().applications


async def _ask_many(client: AdapterClient) -> None:
    sampling, names = SamplingConfig(max_tokens=8), list(client.adapters())

    def ask(i: int):
        return client.chat(names[i % 4], [user(f"Question {i // 4}")], sampling, seed=i)

    samples = await asyncio.gather(*(ask(i) for i in range(48)))
    for i, sample in enumerate(samples):
        assert sample.adapter_digest == client.adapters()[names[i % 4]]
    again = await asyncio.gather(*(ask(i) for i in (0, 1, 2)))
    assert [sample.token_ids for sample in again] == [s.token_ids for s in samples[:3]]


async def _ask_wrongly(client: AdapterClient) -> None:
    with pytest.raises(UnknownAdapter, match="one@1, two@1, one@7") as caught:
        await client.chat("nobody", [user("Hello")], SamplingConfig())
    assert type(caught.value) is UnknownAdapter
    assert caught.value.known == ["base", "one@1", "two@1", "one@7"]
    with pytest.raises(BadRequest, match="context of 512 tokens"):
        await client.chat("one", [user("Hello")], SamplingConfig(max_tokens=10_000))


async def _lose_a_replica(client: AdapterClient) -> None:
    """Kill -9 of one of two replicas: every conversation is answered, and answered the same."""
    sampling, (app,) = SamplingConfig(max_tokens=120), ray_serve.status().applications

    def ask_all():
        return [client.chat("one", [user(f"Tell me {i}")], sampling, seed=i) for i in range(64)]

    before = await asyncio.gather(*ask_all())
    asked = [asyncio.create_task(chat) for chat in ask_all()]
    await asyncio.sleep(0.2)
    assert not all(task.done() for task in asked)
    next(p for p in psutil.process_iter() if _is_replica(p, app)).kill()
    after = await asyncio.gather(*asked)
    assert [s.token_ids for s in after] == [s.token_ids for s in before]


def _is_replica(process: psutil.Process, app: str) -> bool:
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "ray::" in title and app in title


@pytest.mark.usefixtures("ray_cluster")
def test_an_adapter_that_cannot_be_served_is_the_users_error(
    base_model: str, adapters: dict[str, Adapter]
) -> None:
    one = adapters["one"]
    foreign = Adapter(one.config | {"base_model_name_or_path": "somebody/else"}, one.tensors)
    message = 'adapter "foreign@1" cannot be served: it was trained on "somebody/else"'
    with (
        pytest.raises(UserError, match=message),
        adapter_server(base_model, {"one": one, "foreign": foreign}, CPU),
    ):
        pytest.fail("it started")
    assert not ray_serve.status().applications


@pytest.mark.usefixtures("ray_cluster")
def test_an_adapter_cannot_be_called_base(base_model: str, adapters: dict[str, Adapter]) -> None:
    with (
        pytest.raises(UserError, match='"base" is the base model'),
        adapter_server(base_model, {"base": adapters["one"]}, CPU),
    ):
        pytest.fail("it started")
