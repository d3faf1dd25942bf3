"""From a config to a backend that is ready to train: base, LoRA, precision, sharding."""

from collections.abc import Callable
from functools import partial
from typing import cast

import peft
import torch
import torch.distributed as dist
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from actors.lm.base import load_base
from actors.lm.dense import quicken
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora
from actors.train.on_torch.room import check_room
from actors.train.on_torch.rope import check_scales
from actors.train.on_torch.sharding import shard_layers
from configs.errors import UserError
from configs.training import TrainingConfig


def start_backend(
    config: TrainingConfig, device: torch.device, on_micro_batch: Callable[[], None] = lambda: None
) -> TorchBackend:
    """Load the base on this rank and put a fresh LoRA on it; UserError for what cannot be had."""
    sharded = config.sharding == "fsdp" and dist.is_initialized() and dist.get_world_size() > 1
    if sharded and config.quantization != "none":
        raise UserError(
            f"quantization={config.quantization} cannot be combined with sharding=fsdp; a base in "
            "4 bits is small: give sharding=replicated."
        )
    check_room(config, device)
    base = load_base(
        config.base_model,
        getattr(torch, config.dtype),
        "cpu" if sharded else str(device),
        config.quantization,
    )
    check_scales(base.model.config.get_text_config(), config.max_row_tokens)
    if device.type == "cpu":  # where it will compute, which is not where a sharded base is loaded
        quicken(base.model)
    model = add_lora(base, config.lora, config.seed)
    if sharded:
        shard_layers(cast(PreTrainedModel, model.get_base_model()), device)
    backend = TorchBackend(
        model,
        seed=config.seed,
        micro_batch_tokens=config.micro_batch_tokens,
        on_micro_batch=on_micro_batch,
    )
    if config.gradient_checkpointing:
        checkpoint_layers(model)
    return backend


def checkpoint_layers(model: peft.PeftModel) -> None:
    """Keep only what enters a layer, and compute the layer again in the backward pass.

    transformers does so in training mode alone, in which many a base drops out; here a layer draws
    no random numbers.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        kind = type(model.get_base_model()).__name__
        raise UserError(f"gradient_checkpointing: {kind} does not offer it; give false.")
    for layer in layers:
        again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        object.__setattr__(layer, "forward", again)
