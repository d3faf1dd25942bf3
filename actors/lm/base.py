"""Load a base model: the embedded `tiny`, a hub id, or a directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.plain_chat import with_plain_template
from actors.lm.quantization import nf4
from actors.lm.tiny import TINY, tiny_directory, tiny_name
from configs.base import digest
from configs.errors import UserError

_SAMPLED_VALUES = 256
# What transformers raises for files that are damaged or not what they are called.
_UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip


@dataclass(frozen=True)
class LoadedBase:
    """A frozen causal language model, its tokenizer, and the digest that names it in results."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str


def resolve_base_name(name: str) -> str:
    """`tiny` becomes `tiny-<digest of its recipe>`, a directory its absolute real path.

    Hub ids stay as they are. A worker's current directory is another one than the caller's.
    """
    if name in (TINY, tiny_name()):
        return tiny_name()
    path = os.path.expanduser(name)
    return os.path.realpath(path) if os.path.isdir(path) else name


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base model; one without a chat template gets a plain one."""
    tokenizer = _from_pretrained(AutoTokenizer, name)
    return tokenizer if tokenizer.chat_template else with_plain_template(name, tokenizer)


def load_base(
    name: str,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    quantization: Literal["none", "nf4"] = "none",
) -> LoadedBase:
    """Load a base model in evaluation mode with frozen weights; builds `tiny` on first use."""
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    if quantization == "nf4":
        options |= {"quantization_config": nf4(dtype, device), "device_map": {"": device}}
    model = _from_pretrained(AutoModelForCausalLM, name, **options)
    model = model.to(device).eval().requires_grad_(False)
    return LoadedBase(resolve_base_name(name), model, load_tokenizer(name), model_digest(model))


def context_tokens(name: str) -> int:
    """Tokens that a base model can take, what it answers included."""
    return _from_pretrained(AutoConfig, name).get_text_config().max_position_embeddings


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
        count = min(flat.numel(), _SAMPLED_VALUES)
        places = torch.arange(count, device=flat.device) * flat.numel() // max(1, count)
        rows.append([name, list(parameter.shape), flat[places].float().cpu().tolist()])
    return digest(rows)


def _from_pretrained(auto: Any, name: str, **options: object) -> Any:
    resolved = resolve_base_name(name)
    if resolved != tiny_name() and _looks_like_a_path(name) and not os.path.isdir(resolved):
        raise UserError(f'base_model="{name}": no such directory.')
    source = tiny_directory() if resolved == tiny_name() else resolved
    try:
        with quiet_hub():
            return auto.from_pretrained(source, trust_remote_code=False, **options)
    except _UNREADABLE as error:
        raise UserError(
            f'base_model="{name}" cannot be loaded: {_first_line(error)}. Give "tiny", a directory '
            "with a transformers model in safetensors, or a hub id that this machine can reach."
        ) from None


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    if not isinstance(error, OSError | ValueError):  # a KeyError's text is the bare key
        text = f"{type(error).__name__}: {text}"
    return text.partition("\n")[0].rstrip(".:")


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Without the hub's lines about every retry; what it gives up on is an exception."""
    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)
