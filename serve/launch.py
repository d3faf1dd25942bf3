"""Start an adapter server inside a Ray that runs already, and take it down again."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
import ray.serve as ray_serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from actors.lm.adapter import Adapter
from actors.lm.base import resolve_base_name
from actors.lm.refusals import RefusedAdapter
from actors.lm.tiny import TINY, tiny_name
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.app import build_app
from serve.calls import Description
from serve.client import AdapterClient
from serve.deploy import QUIET, deployed, ensure_serve
from serve.door import open_door
from serve.openai.keys import Keys
from serve.replica import Replica
from serve.shelf import start_shelf

_REPLICA = "replica"
# The engine queues and batches by itself; Serve only has to let the calls through.
_CALLS_AT_ONCE = 100_000
_DRAIN_CHECK_S = 0.2  # how often a stopping replica looks whether it is idle


@contextmanager
def adapter_server(
    base_model: str, adapters: Mapping[str, Adapter], server: ServerConfig
) -> Iterator[AdapterClient]:
    """A server without HTTP for the length of a block, and a client for it.

    The client knows the adapters by the names given here. UserError when one cannot be served.
    """
    app_name, base = f"adapters-{uuid.uuid4().hex[:8]}", _base(base_model)
    ensure_serve()
    with (
        _shelved(base, adapters) as shelved,
        deployed(_replicas(base, server, shelved.shelf), app_name) as handle,
    ):
        yield AdapterClient(handle, shelved.names, _described(handle).adapters)


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
) -> Iterator[Description]:
    """The same behind OpenAI's API on host:port of this machine; yields what it answers to."""
    from serve.client import ServerClient

    app_name, base = f"server-{uuid.uuid4().hex[:8]}", _base(base_model)
    ensure_serve()
    with (
        _shelved(base, adapters) as shelved,
        deployed(_replicas(base, server, shelved.shelf), app_name) as handle,
    ):
        described = _described(handle)
        app = build_app(ServerClient(handle), keys, max_body_bytes)
        with open_door(app, host, port):
            yield described


class _Base(NamedTuple):
    name: str
    names: list[str]  # all that mean it, beside "base"


def _base(given: str) -> _Base:
    """Resolved here: in a replica's directory a relative path would be another one."""
    name = resolve_base_name(given)
    return _Base(name, sorted({given, name, *([TINY] if name == tiny_name() else [])}))


class _Shelved(NamedTuple):
    shelf: Any
    names: dict[str, str]  # as given -> name@version


@contextmanager
def _shelved(base: _Base, adapters: Mapping[str, Adapter]) -> Iterator[_Shelved]:
    """The adapters in the cluster, for whichever replica asks."""
    shelf = start_shelf(base.names)
    try:
        names = {name: _put(shelf, name, adapter) for name, adapter in adapters.items()}
        yield _Shelved(shelf, names)
    finally:
        ray.kill(shelf)


def _put(shelf: Any, name: str, adapter: Adapter) -> str:
    try:
        return ray.get(shelf.put.remote(name, adapter))
    except RefusedAdapter as error:
        # Ray's own exception wraps it with an account of where it was raised.
        raise UserError(f"adapter {getattr(error, 'cause', error)}.") from None


def _replicas(base: _Base, server: ServerConfig, shelf: Any) -> Application:
    has_gpus = server.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    deployment = ray_serve.deployment(
        name=_REPLICA,
        num_replicas=server.num_replicas,
        max_ongoing_requests=_CALLS_AT_ONCE,
        graceful_shutdown_wait_loop_s=_DRAIN_CHECK_S,
        ray_actor_options={"num_cpus": 1, "num_gpus": 1 if has_gpus else 0},
        logging_config=QUIET,
    )(Replica)
    return deployment.bind(base.name, base.names, server, shelf)


def _described(replicas: DeploymentHandle) -> Description:
    described: Description = replicas.describe.remote().result()
    if described.problem is not None:
        raise UserError(described.problem)
    return described
