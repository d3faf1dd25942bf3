"""Whether a base has room where it is to be trained, told before it is loaded.

An estimate from the model's shapes: the base's weights, and four float32 numbers for each weight
of the adapter (itself, its gradient, Adam's two moments). Activations come on top, so what is
refused here could never have run.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
import torch.distributed as dist
from transformers import PreTrainedModel

from actors.lm.base import load_skeleton
from actors.train.on_torch.lora import resolve_targets
from actors.train.on_torch.sharding import layers_of
from configs.errors import UserError
from configs.training import TrainingConfig

_BYTES = {"float32": 4.0, "bfloat16": 2.0}
_NF4_BYTES = 0.5  # and a little for the scales of its blocks
_ADAPTER_BYTES = 16.0
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Place(NamedTuple):
    """Where a run's processes compute."""

    memory_bytes: int  # of the device that they share
    sharing: int  # processes that share it
    world_size: int  # processes of the whole run


class Host(NamedTuple):
    """The machine into whose memory a base is loaded, on its way to GPUs as well."""

    memory_bytes: int
    processes: int


def check_room(config: TrainingConfig, device: torch.device) -> None:
    """UserError with the numbers and the mends when the base cannot fit on this device."""
    skeleton, host = load_skeleton(config.base_model), _host()
    fault = room_fault(config, skeleton, _place(device, host)) or load_fault(config, skeleton, host)
    if fault:
        raise UserError(f"base_model={config.base_model}: {fault}")


def room_fault(config: TrainingConfig, skeleton: PreTrainedModel, place: Place) -> str | None:
    """What keeps a model from fitting; None when it may fit."""
    needed = bytes_needed(config, skeleton, place.world_size)
    if needed * place.sharing <= place.memory_bytes:
        return None
    # 4 bits cannot be sharded.
    whole = config.quantization == "none" and config.sharding == "replicated"
    mends = {
        "a smaller base": True,
        "dtype=bfloat16": config.dtype == "float32",
        "quantization=nf4 on GPUs": whole,
        "sharding=fsdp over several GPUs or machines": whole,
        "fewer num_workers": place.sharing > 1,
        "a smaller lora.rank": config.lora.rank > 16,
    }
    each = f" in each of {place.sharing} training processes" if place.sharing > 1 else ""
    return (
        f"{_parameters(skeleton) / 1e9:.2f} billion parameters in {_type_name(config)} and the "
        f"adapter's state need {needed / 1e9:.1f} GB{each}, and there are "
        f"{place.memory_bytes / 1e9:.1f} GB. "
        f"Give {', or '.join(mend for mend, helps in mends.items() if helps)}."
    )


def load_fault(config: TrainingConfig, skeleton: PreTrainedModel, host: Host) -> str | None:
    """What keeps a machine's processes from loading a model; None when they may be able to.

    Weights in the type of their file are its pages, which all processes share. In another type
    each process makes its own, of the whole base, before it shards them or puts them on a GPU.
    """
    stored = skeleton.config.dtype
    if config.quantization != "none" or stored in (None, getattr(torch, config.dtype)):
        return None
    needed = _parameters(skeleton) * _BYTES[config.dtype]
    if needed * host.processes <= host.memory_bytes:
        return None
    name = str(stored).removeprefix("torch.")
    mend = f"dtype={name}, or fewer num_workers" if name in _BYTES else "fewer num_workers"
    return (
        f"is stored in {name}; in {config.dtype} each of a machine's {host.processes} training "
        f"processes first loads all of it, {needed / 1e9:.1f} GB, and there are "
        f"{host.memory_bytes / 1e9:.1f} GB. Give {mend}."
    )


def bytes_needed(config: TrainingConfig, skeleton: PreTrainedModel, world_size: int) -> float:
    """Bytes of one process before its first activation."""
    head = skeleton.get_output_embeddings()
    linear = {n: m for n, m in skeleton.named_modules() if isinstance(m, torch.nn.Linear)}
    quantized = sum(m.weight.numel() for m in linear.values() if m is not head)
    quantized *= config.quantization == "nf4"
    elsewhere = 0.0  # on other ranks
    if config.sharding == "fsdp":
        elsewhere = _parameters(layers_of(skeleton)) * (1 - 1 / world_size)
    full = _parameters(skeleton) - quantized - elsewhere
    base = quantized * _NF4_BYTES + full * _BYTES[config.dtype]
    targets = resolve_targets(skeleton, config.lora.targets)
    adapted = [m for n, m in linear.items() if _is_adapted(n, targets, config.lora.layers)]
    trained = config.lora.rank * sum(m.in_features + m.out_features for m in adapted)
    return base + trained * _ADAPTER_BYTES


def _parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _is_adapted(name: str, targets: list[str], layers: list[int] | None) -> bool:
    meant = any(name == target or name.endswith(f".{target}") for target in targets)
    return meant and (layers is None or any(f".{layer}." in name for layer in layers))


def _type_name(config: TrainingConfig) -> str:
    return config.dtype if config.quantization == "none" else config.quantization


def _place(device: torch.device, host: Host) -> Place:
    if device.type == "cuda":
        return Place(torch.cuda.mem_get_info(device)[1], 1, _world_size())
    return Place(*host, _world_size())


def _host() -> Host:
    # torchrun and Ray Train both say how many processes are on this machine.
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _world_size() > 1 else 1
    return Host(machine_memory(), local)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def machine_memory(read: Callable[[str], str] = lambda path: Path(path).read_text()) -> int:
    """Bytes of memory of this machine, or of the container that it is to this process."""
    limits = [psutil.virtual_memory().total]
    for path in _CGROUP_LIMITS:
        try:
            limits.append(int(read(path)))
        except (OSError, ValueError):  # another version of cgroups, or "max"
            continue
    return min(limits)
