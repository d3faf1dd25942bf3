"""A base model with a LoRA to train, the same on every rank whatever their number."""

import peft
import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from actors.lm.base import LoadedBase, load_skeleton
from configs.errors import UserError, did_you_mean
from configs.sections import LoraConfig


def add_lora(
    base: LoadedBase, lora: LoraConfig, seed: int, name: str = "default"
) -> peft.PeftModel:
    """Wrap the base (in place) with a fresh LoRA: B is 0, A is drawn from the seed."""
    config = peft_config(base, lora)
    torch.manual_seed(seed)
    model = peft.get_peft_model(base.model, config, name)
    if not isinstance(model, peft.PeftModel):
        raise TypeError(type(model))
    # peft names the directory that the base was loaded from.
    config.base_model_name_or_path = base.name
    return model


def peft_config(base: LoadedBase, lora: LoraConfig) -> peft.LoraConfig:
    """A LoRA of this base as peft knows it; UserError for targets or layers it does not have."""
    return peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        target_modules=resolve_targets(base.model, lora.targets),
        layers_to_transform=resolve_layers(base.model, lora.layers),
    )


def check_lora(base_model: str, lora: LoraConfig) -> None:
    """UserError for targets or layers that the base does not have. Its weights are not read."""
    skeleton = load_skeleton(base_model)
    resolve_targets(skeleton, lora.targets)
    resolve_layers(skeleton, lora.layers)


def resolve_targets(model: PreTrainedModel, targets: str | list[str]) -> list[str]:
    """Module names to adapt, sorted; UserError when one of them is no linear layer's."""
    head = model.get_output_embeddings()
    head = getattr(head, "base_layer", head)
    # peft puts a layer that another adapter changes into one of its own, as `base_layer`.
    linear = {
        name.removesuffix(".base_layer"): module
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and ".lora_" not in name
    }
    leaves = {name.rpartition(".")[2] for name, module in linear.items() if module is not head}
    if isinstance(targets, str):
        return sorted(leaves)
    unknown = [
        target
        for target in targets
        if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if unknown or not targets:
        hints = "".join(
            f' "{target}" is none of them.{did_you_mean(target, sorted(leaves))}'
            for target in unknown
        )
        raise UserError(
            f"lora.targets: the linear layers of this model are {', '.join(sorted(leaves))}.{hints}"
        )
    return sorted(targets)


def resolve_layers(model: PreTrainedModel, layers: list[int] | None) -> list[int] | None:
    """Numbers of the layers to adapt, sorted, None for all; UserError when one is not there."""
    if layers is None:
        return None
    count = model.config.get_text_config().num_hidden_layers
    unknown = sorted({layer for layer in layers if not 0 <= layer < count})
    if unknown or not layers:
        named = f"; {', '.join(map(str, unknown))} is not among them" if unknown else ""
        raise UserError(f"lora.layers: the layers of this model are 0 to {count - 1}{named}.")
    return sorted(set(layers))
