"""The server through its handle, as jobs and trainers use it."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import ray
import ray.serve as ray_serve

from actors.lm.adapter import Adapter
from actors.lm.messages import user
from actors.lm.refusals import BadRequest, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, Question
from configs.errors import UserError
from configs.sections import SamplingConfig, ServerConfig
from serve.adapter_client import AdapterClient
from serve.calls import Answer, Call, Delta, Loaded, Opened
from serve.client import ServerClient
from serve.launch import adapter_server
from serve.shelf import Holdings, start_shelf

# Fewer slots than adapters.
CPU = ServerConfig(device="cpu", max_adapters=2, max_batch=16, num_replicas=2)


@pytest.mark.usefixtures("ray_cluster")
def test_a_server_of_two_replicas(base_model: str, adapters: dict[str, Adapter]) -> None:
    given = {**adapters, "one@7": adapters["two"]}  # newer than "one", which keeps its adapter
    with adapter_server(base_model, given, CPU) as client:
        assert client.adapters().keys() == {"base", *given}
        assert all(client.adapters()[name] == given[name].digest for name in given)
        asyncio.run(_ask_many(client))
        asyncio.run(_ask_wrongly(client))
        asyncio.run(_score(client))
        asyncio.run(_stream(client.server))
        asyncio.run(_come_and_go(client.server, adapters["one"]))
        asyncio.run(_prefer_who_holds_it(client.server))
        asyncio.run(_go_away(client.server))
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
    with pytest.raises(UnknownAdapter, match="nobody"):
        await client.score(["one", "nobody"], [Question([1], [[2]])])


async def _score(client: AdapterClient) -> None:
    """More questions than one call takes, and more adapters than fit."""
    questions = [Question([65, i % 256], [[66, 67], [68]]) for i in range(600)]
    names = list(client.adapters())
    together = await client.score(names, questions)
    assert [one.adapter_digest for one in together] == list(client.adapters().values())
    [alone] = await client.score(["two"], questions)
    expected = together[names.index("two")].questions
    assert len(alone.questions) == 600
    for got, wanted in zip(alone.questions, expected, strict=True):
        assert [one.logprob for one in got] == pytest.approx([one.logprob for one in wanted])


async def _stream(server: ServerClient) -> None:
    call = Call("two", ["Hello"], max_tokens=30, seed=3)
    opened, *deltas, answer = [part async for part in server.ask_stream(call)]
    assert isinstance(opened, Opened)
    assert isinstance(answer, Answer)
    assert answer == await server.ask(call)
    pieces = [piece for one in deltas if isinstance(one, Delta) for _, piece in one.pieces]
    assert "".join(piece.text for piece in pieces) == answer.choices[0].sample.text


@ray.remote(num_cpus=0)
def _publish(server: ServerClient, name: str, adapter: Adapter) -> Loaded:
    """What a trainer does, on any node."""
    return asyncio.run(server.load(name, adapter=adapter))


async def _come_and_go(server: ServerClient, adapter: Adapter) -> None:
    async def models(name: str) -> set[str]:
        calls = [Call(name, ["Hello"], max_tokens=2) for _ in range(8)]
        return {answer.model for answer in await asyncio.gather(*map(server.ask, calls))}

    loaded = await _publish.remote(server, "new", adapter)
    assert (loaded.model, loaded.digest) == ("new@1", adapter.digest)
    [scores] = await server.score(["new@1"], [Question([65], [[66]])])
    assert scores.adapter_digest == adapter.digest
    with pytest.raises(RefusedAdapter, match="already loaded with this content, as new@1"):
        await server.load("new", adapter=adapter)
    halved = Adapter(adapter.config, {k: v / 2 for k, v in adapter.tensors.items()})
    changed = await server.load("new", adapter=halved)
    assert changed.model == "new@2"
    assert changed.probe != loaded.probe
    assert await models("new") == await models("new@latest") == {"new@2"}
    assert await models("new@1") == {"new@1"}
    assert await server.unload("new@2") == ["new@2"]
    assert await models("new") == {"new@1"}
    assert await server.unload("new") == ["new@1"]
    with pytest.raises(UnknownAdapter):
        await models("new")
    broken = Adapter(adapter.config, {k: v * float("nan") for k, v in adapter.tensors.items()})
    with pytest.raises(RefusedAdapter, match="finite"):
        await server.load("new", adapter=broken)
    assert (await server.load("new", adapter=adapter)).model == "new@4"
    with pytest.raises(RefusedAdapter, match="no storage root"):
        await server.load("new", path="somewhere")


async def _prefer_who_holds_it(server: ServerClient) -> None:
    """One request after another goes to the replica that has the adapter."""
    for _ in range(3):
        await server.ask(Call("two", ["Hello"], max_tokens=2))

    async def holders() -> set[str]:
        return {replica for replica, _, names in await server.stats() if "two@1" in names}

    before = await holders()
    assert before
    for _ in range(10):
        await server.ask(Call("two", ["Hello"], max_tokens=2))
    assert await holders() == before


async def _go_away(server: ServerClient) -> None:
    """A caller that is cancelled takes its rows out of the engine."""

    async def rows() -> int:
        return sum(stats.running + stats.waiting for _, stats, _ in await server.stats())

    everything = dict.fromkeys(range(256, 262), -100.0)  # no end of turn
    call = Call(BASE, ["Hello"] * 64, max_tokens=500, logit_bias=everything)
    asked = asyncio.create_task(server.ask(call))
    streamed: Any = server.ask_stream(call)
    await anext(streamed)
    while not await rows():
        await asyncio.sleep(0.01)
    asked.cancel()
    await streamed.aclose()
    while await rows():
        await asyncio.sleep(0.01)
    assert asked.cancelled()


@pytest.mark.usefixtures("ray_cluster")
def test_an_adapter_that_cannot_be_served_is_the_users_error(
    base_model: str, adapters: dict[str, Adapter]
) -> None:
    one = adapters["one"]
    foreign = Adapter(one.config | {"base_model_name_or_path": "somebody/else"}, one.tensors)
    message = 'adapter "foreign" cannot be served: it was trained on "somebody/else"'
    with (
        pytest.raises(UserError, match=message),
        adapter_server(base_model, {"one": one, "foreign": foreign}, CPU),
    ):
        pytest.fail("it started")
    assert not ray_serve.status().applications


@pytest.mark.usefixtures("ray_cluster")
def test_versions_count_on_where_a_server_starts_again(
    tmp_path: Path, adapters: dict[str, Adapter]
) -> None:
    for adapter, expected in [("one", "a@1"), ("two", "a@2"), ("two", "a@2"), ("one", "a@3")]:
        shelf = start_shelf(f"server-{uuid4()}", ["tiny"], Holdings(str(tmp_path)))
        assert ray.get(shelf.reserve.remote("a", adapters[adapter])) == expected
        ray.kill(shelf)


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_killed_command_left_is_gone_when_the_next_server_starts(base_model: str) -> None:
    shelf = start_shelf("server-living", ["tiny"], Holdings())
    others = {"server-living", "another"}
    try:
        for name in ("server-dead", *others):
            ray_serve.run(left_behind(), name=name, route_prefix=None)
        with adapter_server(base_model, {}, CPU.model_copy(update={"num_replicas": 1})):
            left = ray_serve.status().applications.keys()
            assert "server-dead" not in left
            assert left > others
    finally:
        for name in others:
            ray_serve.delete(name)
        ray.kill(shelf)


def left_behind() -> ray_serve.Application:
    """What stands for a server's replicas, in here: a replica has no tests to import."""

    class Left:
        """Nothing."""

    return ray_serve.deployment(ray_actor_options={"num_cpus": 0})(Left).bind()
