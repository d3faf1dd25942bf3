"""Start the trainer beside a server that runs, and the front over both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from actors.store.storage import Storage
from configs.sections import ServerConfig
from serve.tinker_api.front import Front
from serve.tinker_api.sampling import Publisher
from serve.tinker_api.trainer import Trainer


@contextmanager
def tinker_front(
    server: Publisher,
    base_names: Sequence[str],
    config: ServerConfig,
    storage_root: str,
) -> Iterator[Front]:
    """A front for the length of a block. The trainer takes a GPU that the replicas left, if any.

    A trainer that dies is started again; the training clients that it held are gone.
    """
    root = Storage(storage_root).path("").rstrip("/")  # in the actor's folder it could be another
    has_gpu = config.device != "cpu" and ray.available_resources().get("GPU", 0) >= 1
    device = "cuda" if has_gpu else "cpu"
    actor = ray.remote(Trainer).options(num_cpus=1, num_gpus=int(has_gpu), max_restarts=-1)
    trainer: Any = actor.remote(base_names[0], config.dtype, device, root)
    try:
        yield Front(
            server,
            trainer,
            storage_root=root,
            base_names=base_names,
            context_tokens=ray.get(trainer.ready.remote()),
            device=device,
        )
    finally:
        ray.kill(trainer)
