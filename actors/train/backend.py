"""The verbs of training, which are Tinker's; loops are written once against them.

A backend may be many processes that all run the same loop. Every rank gives the same whole batch
and gets the same answers; how the work is split is the backend's own business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.lm.adapter import Manifest
from actors.train.datum import Datum
from actors.train.losses import LossName


@dataclass(frozen=True)
class AdamParams:
    """AdamW's settings for one step. `grad_clip_norm` 0 leaves the gradients as they are."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0


@dataclass(frozen=True)
class Label:
    """What a saved adapter is called: `name@version`, after `step` steps."""

    name: str
    version: int
    step: int


class TrainingBackend(Protocol):
    """What a training loop runs on."""

    def forward_backward(self, datums: Sequence[Datum], loss: LossName) -> float:
        """Add the gradients of the loss of a whole batch; returns the loss (a sum over tokens)."""
        ...

    def optim_step(self, adam: AdamParams) -> float:
        """One AdamW step on the added gradients; returns their global norm before clipping."""
        ...

    def save(self, folder: str, label: Label) -> Manifest:
        """Write the adapter and what is needed to train on into `folder` (a path or URL)."""
        ...

    def load(self, folder: str) -> None:
        """Continue exactly as the backend that saved `folder` would have."""
        ...
