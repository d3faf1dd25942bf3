"""Start the trainer beside a server that runs, and the front over both."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray

from actors.store.storage import Storage
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.tinker_api.front import Front, Server
from serve.tinker_api.trainer import Trainer


@contextmanager
def tinker_front(
    server: Server,
    base_names: Sequence[str],
    config: ServerConfig,
    storage_root: str,
) -> Iterator[Front]:
    """A front for the length of a block. The trainer takes a GPU that the replicas left, if any.

    A trainer that dies is started again; the training clients that it held are gone. UserError
    where the replicas left it nothing.
    """
    root = Storage(storage_root).path("").rstrip("/")  # in the actor's folder it could be another
    place = place_of(ray.available_resources(), config.device)
    actor = ray.remote(Trainer).options(**place.resources, max_restarts=-1)
    trainer: Any = actor.remote(base_names[0], config.dtype, place.device, root)
    try:
        yield Front(
            server,
            trainer,
            storage_root=root,
            base_names=base_names,
            context_tokens=ray.get(trainer.ready.remote()),
            device=place.device,
        )
    finally:
        ray.kill(trainer)


class Place(NamedTuple):
    """What a trainer computes on, and what it takes of the cluster."""

    device: str
    resources: dict[str, int]


def place_of(available: Mapping[str, float], device: str) -> Place:
    """The trainer's place in what is left; UserError where Ray would wait for ever for one."""
    if device != "cpu" and available.get("GPU", 0) >= 1:
        return Place("cuda", {"num_cpus": 0, "num_gpus": 1})  # its node's cores may be taken
    if available.get("CPU", 0) < 1:
        raise UserError(
            "tinker=true: no CPU of the cluster is left for the trainer, which needs one beside "
            "the replicas' (one each). Lower server.num_replicas, end another job, or add a node."
        )
    return Place("cpu", {"num_cpus": 1, "num_gpus": 0})
