"""What a config's LoRA is on the service, which knows a rank and three groups of layers."""

from typing import NamedTuple

from configs.errors import UserError
from configs.sections import LoraConfig
from configs.training import TrainingConfig

_ALPHA = 32  # of every LoRA of the service; its scale is alpha / rank
_GROUPS = {
    "attention": frozenset({"q_proj", "k_proj", "v_proj", "o_proj"}),
    "mlp": frozenset({"gate_proj", "up_proj", "down_proj"}),
    "head": frozenset({"lm_head"}),
}


class ServiceLora(NamedTuple):
    """The LoRA that the service is asked for."""

    rank: int
    train_attn: bool
    train_mlp: bool
    train_unembed: bool


def service_lora(config: TrainingConfig) -> ServiceLora:
    """The config's LoRA; UserError with every field that the service cannot fulfil."""
    faults = [*_lora_faults(config.lora), *_run_faults(config)]
    if faults:
        raise UserError("backend=tinker: " + "; ".join(faults) + ". backend=ray can do all of it.")
    groups = _groups(config.lora)
    return ServiceLora(config.lora.rank, "attention" in groups, "mlp" in groups, "head" in groups)


def _groups(lora: LoraConfig) -> set[str]:
    """The groups that the targets are made of; empty where they are not."""
    if isinstance(lora.targets, str):
        return {"attention", "mlp"}
    targets = set(lora.targets)
    groups = {name for name, members in _GROUPS.items() if members <= targets}
    return groups if targets == {target for name in groups for target in _GROUPS[name]} else set()


def _lora_faults(lora: LoraConfig) -> list[str]:
    faults = []
    if not _groups(lora):
        whole = ", or ".join(" ".join(sorted(members)) for members in _GROUPS.values())
        faults.append(f"lora.targets must be all-linear or whole groups of layers ({whole})")
    if lora.alpha != _ALPHA:
        faults.append(f"lora.alpha={lora.alpha:g}, but the service's is {_ALPHA}")
    if lora.dropout:
        faults.append("the service knows no lora.dropout")
    if lora.rslora:
        faults.append("the service knows no lora.rslora")
    if lora.layers is not None:
        faults.append("the service knows no lora.layers")
    return faults


def _run_faults(config: TrainingConfig) -> list[str]:
    faults = []
    if config.dtype != "float32":
        faults.append(f"the service chooses the base's type (leave out dtype={config.dtype})")
    if config.quantization != "none":
        faults.append(f"the service chooses the base's type (quantization={config.quantization})")
    if config.num_workers != 1:
        faults.append("the service chooses its own workers (num_workers must be 1)")
    if config.sharding != "replicated":
        faults.append(f"the service places the base by itself (sharding={config.sharding})")
    if config.gradient_checkpointing:
        faults.append("the service sees to its own memory (gradient_checkpointing)")
    if config.micro_batch_tokens is not None:
        faults.append("the service splits batches by itself (micro_batch_tokens)")
    return faults
