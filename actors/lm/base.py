"""Load a base model: the embedded `tiny`, a hub id, or a directory."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.tiny import TINY, tiny_directory, tiny_name
from configs.base import digest
from configs.errors import UserError

_SAMPLED_VALUES = 256


@dataclass(frozen=True)
class LoadedBase:
    """A frozen causal language model, its tokenizer, and the digest that names it in results."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str


def resolve_base_name(name: str) -> str:
    """`tiny` becomes `tiny-<digest of its recipe>`; other names stay as they are."""
    return tiny_name() if name == TINY else name


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base model; UserError when it has no chat template."""
    tokenizer = _from_pretrained(AutoTokenizer, name)
    if tokenizer.chat_template is None:
        raise UserError(f"{name}: its tokenizer has no chat template; use an instruct model.")
    return tokenizer


def load_base(name: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> LoadedBase:
    """Load a base model in evaluation mode with frozen weights; builds `tiny` on first use."""
    model = _from_pretrained(AutoModelForCausalLM, name, dtype=dtype)
    model = model.to(device).eval().requires_grad_(False)
    return LoadedBase(resolve_base_name(name), model, load_tokenizer(name), model_digest(model))


def load_skeleton(name: str) -> PreTrainedModel:
    """The modules of a base model without their weights, to look at names and shapes."""
    config = _from_pretrained(AutoConfig, name)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def model_digest(model: torch.nn.Module) -> str:
    """Names a model by every parameter's name, shape and an even sample of its values.

    A full hash of a 70B model takes minutes; two models that differ in training differ here.
    """
    rows = []
    for name, parameter in model.named_parameters():
        flat = parameter.detach().flatten()
        sampled = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)][:_SAMPLED_VALUES]
        rows.append([name, list(parameter.shape), sampled.float().cpu().tolist()])
    return digest(rows)


def _from_pretrained(auto: Any, name: str, **options: object) -> Any:
    is_tiny = name in (TINY, tiny_name())
    source = tiny_directory() if is_tiny else name
    try:
        return auto.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f'base_model="{name}" cannot be loaded: {first_line} Give "tiny", a directory with '
            "a transformers model, or a hub id that this machine can reach."
        ) from None
