"""An adapter added to its base: a plain transformers model. Knows no Ray."""

import tempfile
import warnings
from pathlib import Path

import fsspec
import peft
import torch
from peft import get_peft_model_state_dict
from transformers import PreTrainedModel

from actors.lm.adapter import CONFIG, TENSORS, Adapter
from actors.lm.base import LoadedBase
from configs.errors import JobFailed, UserError


def merged(base: LoadedBase, path: str, adapter: Adapter, dtype: torch.dtype) -> PreTrainedModel:
    """The base (changed in place) with the adapter at `path` added to its weights, as `dtype`.

    Sums are taken in the type that the base is loaded in: float32 rounds once, at the end.
    UserError when the adapter does not fit, or a sum is not finite; JobFailed on a full disk.
    """
    if base.model.config.tie_word_embeddings and any("lm_head" in n for n in adapter.tensors):
        raise UserError(
            f"{path}: adapts the head of {base.name}, which is also its embedding; merged, both "
            "would change. Serve it as an adapter instead."
        )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft warns of is refused below
        _fetch(path, Path(folder))
        try:
            adapted = peft.PeftModel.from_pretrained(base.model, folder)
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise UserError(f"{path}: does not fit {base.name}: {str(error)[:300]}") from None
        _check_arrived(path, base, adapted, adapter)
        try:
            whole = adapted.merge_and_unload(safe_merge=True).to(dtype)
        except ValueError as error:
            raise UserError(f"{path}: cannot be merged: {error}") from None
    if not isinstance(whole, PreTrainedModel):
        raise TypeError(type(whole))
    return whole


def _fetch(path: str, folder: Path) -> None:
    """Both files to a place where peft can read them: `path` may be a URL."""
    fs, root = fsspec.core.url_to_fs(path)
    for name in (CONFIG, TENSORS):
        content = fs.cat_file(f"{root}/{name}")
        try:
            (folder / name).write_bytes(content)
        except OSError as error:
            raise JobFailed(
                f"{folder} cannot be written: {error.strerror}. Make room there, or set TMPDIR to "
                "a folder that has some."
            ) from None


def _check_arrived(path: str, base: LoadedBase, adapted: torch.nn.Module, adapter: Adapter) -> None:
    """Peft only warns of tensors that no module takes, and starts those that are missing anew."""
    arrived = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    lost = sorted(set(adapter.tensors) ^ set(arrived))
    if lost:
        raise UserError(
            f"{path}: does not fit {base.name}: {len(lost)} tensors have no counterpart, the first "
            f"is {lost[0]}. Give the base_model that it was trained on."
        )
