"""Which layers a training client adapts: the protocol knows three groups of them.

The head is never adapted: neither engine serves an adapter of it. `train_unembed`, which the SDK
sets by default, is therefore taken as off, and every session is told so.
"""

from typing import NamedTuple

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from configs.sections import LoraConfig
from serve.tinker_api.kept import Run

ALPHA = 32  # of every LoRA of the protocol; its scale is alpha / rank
MOST_RANK = 512
HEAD_NOTE = "This server does not adapt the head (unembedding): train_unembed is taken as False."


class Layers(NamedTuple):
    """A base's linear layers but the head, by the ends of their names."""

    attention: list[str]
    others: list[str]


def layers_of(model: PreTrainedModel) -> Layers:
    """Those of a base without adapters."""
    head = model.get_output_embeddings()
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    attention = {_end(name) for name in linear if _is_attention(name)}
    return Layers(sorted(attention), sorted({_end(name) for name in linear} - attention))


def lora_of(layers: Layers, run: Run) -> LoraConfig:
    """The run's LoRA; ValueError where its layers or its rank cannot be had."""
    if not 1 <= run.rank <= MOST_RANK:
        raise ValueError(f"rank={run.rank} must lie in 1..{MOST_RANK}")
    if run.train_mlp and run.train_attn:
        return LoraConfig(rank=run.rank, alpha=ALPHA)
    targets = (layers.attention if run.train_attn else []) + (
        layers.others if run.train_mlp else []
    )
    if not targets:
        raise ValueError("nothing is left to train without train_mlp and train_attn")
    return LoraConfig(rank=run.rank, alpha=ALPHA, targets=targets)


def _is_attention(name: str) -> bool:
    return any("attn" in part or "attention" in part for part in name.split(".")[:-1])


def _end(name: str) -> str:
    """With its module's name: GPT-2 has a `c_proj` in both."""
    return ".".join(name.split(".")[-2:])
