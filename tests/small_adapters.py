"""Random PEFT adapters for the small base, as peft saves them."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "attention": {"r": 4, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 12, "use_rslora": True},
    "patterns": {
        "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 16},
        "alpha_pattern": {"up_proj": 3},
    },
    "last": {"r": 3, "layers_to_transform": [1]},
}


def write_small_adapter(folder: Path, base: str, seed: int, **options: Any) -> str:
    """Save an adapter that changes the base's answers a lot, and return its path.

    Options are peft's; by default rank 8 on every linear layer.
    """
    model = LlamaForCausalLM.from_pretrained(base)
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": ALL_LINEAR} | options
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    adapted.save_pretrained(str(folder))
    return str(folder)


def write_small_adapters(folder: Path, base: str) -> dict[str, str]:
    """Name -> path of adapters whose ranks, targets and scalings differ."""
    return {
        name: write_small_adapter(folder / name, base, seed, **options)
        for seed, (name, options) in enumerate(_OPTIONS.items(), start=1)
    }
