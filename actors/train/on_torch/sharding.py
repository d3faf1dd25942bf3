"""A base that every rank holds a part of: FSDP2 over the decoder's layers.

A layer is gathered when it computes and let go after it. The adapter is on every rank, as without
sharding; so are embeddings, head and norms. In a large model they are small beside the layers, in a
small one with many words they are not: 0.26 of Llama-3.2-1B's 1.24 billion parameters. Ranks read
different numbers of tokens, so a sharded head would have them gather it unequally often.
"""

from typing import cast

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from configs.errors import UserError


def shard_layers(model: PreTrainedModel, device: torch.device) -> None:
    """Shard the frozen weights of a model's layers (in place), the rest goes to `device` whole.

    The model lies in host memory: a GPU never holds more than one whole layer. Raises UserError
    for a model whose layers are not found.
    """
    decoder, layers = model.get_decoder(), layers_of(model)
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for layer in layers:
        learnt = {p for p in layer.parameters() if p.requires_grad}
        fully_shard(layer, mesh=mesh, ignored_params=learnt, reshard_after_forward=True)
    of_layers = set(layers.parameters())
    rest = {p for p in decoder.parameters() if p not in of_layers}
    # The decoder owns no part itself; as the root it lets layers be gathered ahead.
    fully_shard(decoder, mesh=mesh, ignored_params=rest | of_layers)
    cast(nn.Module, model).to(device)


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """What is sharded; UserError where it is not found."""
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UserError(
            f"sharding=fsdp: the layers of {type(model).__name__} are not known; "
            "give sharding=replicated."
        )
    return layers
