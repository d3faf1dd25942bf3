"""Start an adapter server inside a Ray that runs already, and take it down again."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import ray
import ray.serve as ray_serve
from fastapi import FastAPI
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from actors.lm.adapter import Adapter
from actors.lm.base import load_tokenizer, resolve_base_name
from actors.lm.refusals import RefusedAdapter
from actors.lm.tiny import TINY, tiny_name
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.adapter_client import AdapterClient
from serve.app import build_app
from serve.calls import Description, Loaded
from serve.client import ServerClient
from serve.deploy import QUIET, delete_abandoned, deployed, ensure_serve
from serve.door import open_door
from serve.engines.torch import cores
from serve.openai.backend import Backend
from serve.openai.keys import Keys
from serve.policy_sampler import ServerSampler
from serve.probe import probe_question
from serve.replica import ServedReplica
from serve.routing import HoldersFirst
from serve.shelf import Holdings, is_shelf_alive, start_shelf

_SERVERS = "server-"  # begins the names of their applications and shelves
_REPLICA = "replica"
# The engine queues and batches by itself; Serve only has to let the calls through.
_CALLS_AT_ONCE = 100_000
_ROUTING_STATS_S = 1.0  # how often the router hears which adapters a replica holds
_DRAIN_CHECK_S = 0.2  # how often a stopping replica looks whether it is idle


@contextmanager
def adapter_server(
    base_model: str, adapters: Mapping[str, Adapter], server: ServerConfig
) -> Iterator[AdapterClient]:
    """A server without HTTP for the length of a block, and a client for it.

    The client knows the adapters by the names given here. UserError when one cannot be served.
    """
    with _server(base_model, server, Holdings()) as client:
        names = _load_all(client, adapters)
        yield AdapterClient(client, names, _described(client).adapters)


@contextmanager
def policy_server(
    base_model: str,
    server: ServerConfig,
    *,
    beside_trainer: bool = False,
    gpus_per_replica: float = 1.0,
) -> Iterator[ServerSampler]:
    """A server for the length of a block that samples from whatever policy a trainer publishes.

    `beside_trainer`: it samples while the trainer computes, so half of the cores are left to that
    one; else the two take turns. Less than a GPU per replica leaves the rest of it to a worker; see
    `gpu_shares`.
    """
    if beside_trainer:
        server = _on_half(server, cores())
    with _server(base_model, server, Holdings(), gpus_per_replica) as client:
        yield ServerSampler(client, probe_question(load_tokenizer(resolve_base_name(base_model))))


class Serving(NamedTuple):
    """What a server answers to, and whether it still can: without its shelf it never will."""

    described: Description
    has_shelf: Callable[[], bool]
    trains_on: str | None  # the trainer's device; None without Tinker's protocol


@contextmanager
def http_server(
    base_model: str,
    adapters: Mapping[str, Adapter],
    server: ServerConfig,
    *,
    host: str,
    port: int,
    keys: Keys,
    max_body_bytes: int,
    holdings: Holdings,
    tinker: bool = False,
    at_once: threading.Event | None = None,
) -> Iterator[Serving]:
    """The same behind OpenAI's API on host:port of this machine, with `tinker` behind Tinker's too.

    At the end open requests are given a moment, until `at_once` is set.
    """
    with _server(base_model, server, holdings) as client:
        _load_all(client, adapters)
        with (
            _more(client, base_model, server, holdings, tinker) as more,
            open_door(build_app(more.client, keys, max_body_bytes, more.add), host, port, at_once),
        ):
            yield Serving(_described(client), client.has_shelf, more.trains_on)


def check_tinker() -> None:
    """UserError where Tinker's protocol cannot be spoken: its messages come with its SDK."""
    if find_spec("tinker") is None:
        raise UserError("tinker=true needs Tinker's SDK: pip install 'tinker==0.38.*'.")


class _More(NamedTuple):
    """What OpenAI's routes ask, routes beside them, and what trains."""

    client: Backend
    add: Callable[[FastAPI], None] = lambda app: None
    trains_on: str | None = None


@contextmanager
def _more(
    client: ServerClient, base_model: str, server: ServerConfig, holdings: Holdings, tinker: bool
) -> Iterator[_More]:
    if not tinker:
        yield _More(client)
        return
    check_tinker()
    from serve.tinker_api.by_path import ByPath
    from serve.tinker_api.launch import tinker_front
    from serve.tinker_api.routes import add_tinker

    if holdings.storage is None:
        raise ValueError("checkpoints need a storage root")
    base = _base(base_model)
    names = [base.name, *(name for name in base.names if name != base.name)]
    with tinker_front(client, names, server, holdings.storage) as front:
        by_path = ByPath(client, front.adapter_of)
        yield _More(by_path, partial(add_tinker, front=front), front.device)


@contextmanager
def _server(
    base_model: str, server: ServerConfig, holdings: Holdings, gpus_per_replica: float = 1.0
) -> Iterator[ServerClient]:
    """Replicas and their shelf, without adapters; UserError when they cannot start."""
    base = _base(base_model)
    ensure_serve()
    delete_abandoned(_has_lost_its_shelf)
    name = f"{_SERVERS}{uuid.uuid4().hex[:8]}"
    shelf = start_shelf(name, base.names, holdings)
    try:
        replicas = _replicas(base, server, shelf, gpus_per_replica)
        with deployed(replicas, name) as handle:
            client = ServerClient(handle, shelf)
            _described(client)
            yield client
    finally:
        ray.kill(shelf)


def _has_lost_its_shelf(application: str) -> bool:
    """A server's shelf is there before it, and goes after it."""
    return application.startswith(_SERVERS) and not is_shelf_alive(application)


class _Base(NamedTuple):
    name: str
    names: list[str]  # all that mean it, beside "base"


def _base(given: str) -> _Base:
    """Resolved here: in a replica's directory a relative path would be another one."""
    name = resolve_base_name(given)
    return _Base(name, sorted({given, name, *([TINY] if name == tiny_name() else [])}))


def _load_all(client: ServerClient, adapters: Mapping[str, Adapter]) -> dict[str, str]:
    """Name as given -> `name@version`."""

    async def load_all() -> dict[str, str]:
        return {name: (await _load(client, name, one)).model for name, one in adapters.items()}

    return asyncio.run(load_all())


async def _load(client: ServerClient, name: str, adapter: Adapter) -> Loaded:
    try:
        return await client.load(name, adapter=adapter)
    except RefusedAdapter as error:
        raise UserError(f'adapter "{name}" cannot be served: {error}.') from None


def _replicas(
    base: _Base, server: ServerConfig, shelf: Any, gpus_per_replica: float
) -> Application:
    has_gpus = server.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    router: dict[str, Any] = {
        "request_router_class": HoldersFirst,
        "request_router_kwargs": {"overfull": max(1, server.max_batch // 4)},
        "request_routing_stats_period_s": _ROUTING_STATS_S,
    }
    deployment = ray_serve.deployment(
        name=_REPLICA,
        **_scale(server),
        max_ongoing_requests=_CALLS_AT_ONCE,
        graceful_shutdown_wait_loop_s=_DRAIN_CHECK_S,
        request_router_config=RequestRouterConfig(**router),
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus_per_replica if has_gpus else 0},
        logging_config=QUIET,
    )(ServedReplica)
    return deployment.bind(base.name, base.names, server, shelf)


def _on_half(server: ServerConfig, all_cores: int) -> ServerConfig:
    """The same on half of the cores, unless it says how many."""
    threads = server.threads or max(1, all_cores // 2 // server.num_replicas)
    return server.model_copy(update={"threads": threads})


def _scale(server: ServerConfig) -> dict[str, Any]:
    """Another replica comes when the batches of those that are there are full twice over."""
    least, most = server.num_replicas, server.max_replicas or server.num_replicas
    if most < least:
        raise UserError(
            f"server.max_replicas={most} is less than server.num_replicas={least}; leave it out "
            "for a fixed number."
        )
    if most == least:
        return {"num_replicas": least}
    config = AutoscalingConfig(
        min_replicas=least, max_replicas=most, target_ongoing_requests=2.0 * server.max_batch
    )
    return {"autoscaling_config": config}


def _described(client: ServerClient) -> Description:
    described = asyncio.run(client.describe())
    if described.problem is not None:
        raise UserError(described.problem)
    return described
