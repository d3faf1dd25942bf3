"""AdamW's state beside an adapter, as safetensors: nothing here is a pickle."""

from collections.abc import Mapping

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors

from configs.errors import UserError

OPTIMIZER = "trainer/optimizer.safetensors"


def write_optimizer(folder: str, state: Mapping[str, torch.Tensor], layout: str) -> None:
    """Write the moments and the step of a flat vector whose slices `layout` names."""
    fs, root = fsspec.core.url_to_fs(folder)
    fs.makedirs(f"{root}/trainer", exist_ok=True)
    tensors = {f"{layout}.{name}": t.detach().cpu().contiguous() for name, t in state.items()}
    fs.pipe_file(f"{root}/{OPTIMIZER}", dump_tensors(tensors))


def read_optimizer(folder: str, layout: str) -> dict[str, torch.Tensor]:
    """Read it back; UserError when it is missing, damaged or of another LoRA."""
    fs, root = fsspec.core.url_to_fs(folder)
    try:
        tensors = parse_tensors(fs.cat_file(f"{root}/{OPTIMIZER}"))
    except FileNotFoundError:
        raise UserError(
            f"{folder}: {OPTIMIZER} is missing, so training cannot go on from here."
        ) from None
    except SafetensorError as error:
        raise UserError(f"{folder}/{OPTIMIZER}: damaged: {error}.") from None
    state = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{layout}.")}
    if not state:
        raise UserError(
            f"{folder}: was saved with another LoRA (rank, targets); use another run_id."
        )
    return state
