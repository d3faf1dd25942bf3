"""`merge`: an adapter and its base -> one model that needs no peft."""

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from actors.lm.adapter import read_adapter
from actors.lm.base import load_base, load_skeleton
from actors.store.inputs import find_input
from actors.store.storage import Storage
from actors.train.card import CARD, model_card
from actors.train.on_torch.merge import merged
from configs.errors import JobFailed, UserError
from configs.merge import MergeConfig
from jobs import console
from jobs.training.cards import known_facts


def run(config: MergeConfig) -> int:
    """Write the model, its tokenizer and its card to `out`."""
    path = find_input(config.adapter, Storage(config.storage))
    adapter = read_adapter(path)
    out = Path(config.out).expanduser().absolute()
    if out.exists():
        raise UserError(f"out={config.out}: is there already; give another folder.")
    name = config.base_model or adapter.base_model
    if not name:
        raise UserError(f"{config.adapter}: names no base; give base_model=.")
    dtype = _dtype(config.dtype, name)
    base = load_base(name)
    model = merged(base, path, adapter, dtype)
    facts = replace(known_facts(path, adapter), base_model=name, form="model")
    beside = out.with_name(f".{out.name}.{uuid.uuid4().hex}.part")
    try:
        model.save_pretrained(beside)
        base.tokenizer.save_pretrained(beside)
        (beside / CARD).write_text(model_card(facts), encoding="utf-8")
        for file in beside.glob("*.safetensors"):  # only their owner may read what it writes
            shutil.copymode(beside / CARD, file)
        os.replace(beside, out)
    except (OSError, SafetensorError) as error:  # safetensors has its own word for a full disk
        why = getattr(error, "strerror", None) or error
        raise JobFailed(
            f"{config.out} cannot be written: {why}. Make room there, or give another out=."
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    console.say(f"{facts.name} on {name}, merged in {str(dtype).removeprefix('torch.')}:\n  {out}")
    return 0


def _dtype(given: str, base_model: str) -> torch.dtype:
    if given != "auto":
        return getattr(torch, given)
    own = load_skeleton(base_model).config.dtype
    return own if isinstance(own, torch.dtype) else torch.float32
