"""What the trainer is asked for beside passes: what to load, what to save, how to step."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from actors.train.backend import AdamParams
from serve.tinker_api.paths import CheckpointPath


class Loading(NamedTuple):
    """From which checkpoint an adapter goes on, and whether its optimiser does too."""

    path: CheckpointPath
    with_optimizer: bool


class Saving(NamedTuple):
    """A checkpoint that is asked for."""

    path: CheckpointPath
    ttl_s: int | None
    user_metadata: dict[str, str] | None


def adam_of(params: Mapping[str, Any]) -> AdamParams:
    """A step's settings; ValueError for another optimiser's, or numbers AdamW refuses."""
    known = {field.name for field in fields(AdamParams)}
    if unknown := params.keys() - known:
        raise ValueError(f"adam_params: {sorted(unknown)[0][:80]} is none of AdamW's settings")
    adam = AdamParams(**params)
    for name in known:
        if not (math.isfinite(params.get(name, 0.0)) and params.get(name, 0.0) >= 0):
            raise ValueError(f"adam_params: {name}={params[name]} must be finite and at least 0")
    if max(adam.beta1, adam.beta2) >= 1:
        raise ValueError("adam_params: beta1 and beta2 must be less than 1")
    return adam
