"""Where a training job computes: what is checked before it starts, and the Ray that it needs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from actors.train.on_torch.lora import check_lora
from configs.errors import UserError
from configs.training import TrainingConfig
from jobs import console
from jobs.cluster import ray_session


def check_adapter(config: TrainingConfig) -> None:
    """UserError for a LoRA that the backend cannot train on this base."""
    if config.backend == "tinker":
        from actors.train.on_tinker.lora import service_lora

        service_lora(config)
    else:
        check_lora(config.base_model, config.lora)


@contextmanager
def training_session(config: TrainingConfig, processes: Mapping[str, int]) -> Iterator[None]:
    """Ray for the length of a block, where the backend needs it.

    UserError where it has no room for the processes, by the field that asks for them.
    """
    if config.backend == "tinker":
        yield
        return
    with ray_session():
        _check_room(processes)
        console.say("Starting the training processes (about 15 s).")
        yield


def _check_room(processes: Mapping[str, int]) -> None:
    """A cluster may grow; a Ray of our own does not, and Ray Train would wait for ever."""
    import ray

    cpus = int(ray.cluster_resources().get("CPU", 0))
    if "RAY_ADDRESS" not in os.environ and sum(processes.values()) > cpus:
        asked = " and ".join(f"{field}={count}" for field, count in processes.items())
        raise UserError(
            f"{asked}, but the local Ray has {cpus} CPUs; give {cpus} or less in all, or run on a "
            "cluster (docs/cluster.md)."
        )
