"""The verbs of training, which are Tinker's; loops are written once against them.

A backend may be many processes that all run the same loop. Every rank gives the same whole batch
and gets the same answers; how the work is split is the backend's own business. Verbs that compute
are answered by something to wait for, so that a loop can ask for a step before it has seen the
pass before it: over a network that halves the waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.lm.adapter import Adapter
from actors.lm.sampler import RemotePolicy
from actors.train.datum import Datum
from actors.train.losses import LossName

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class AdamParams:
    """AdamW's settings for one step. `grad_clip_norm` 0 leaves the gradients as they are."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0


class Label(NamedTuple):
    """What a saved adapter is called: `name@version`, after `step` steps."""

    name: str
    version: int
    step: int


@dataclass(frozen=True)
class Passed:
    """What a pass over a batch found."""

    loss: float  # the sum over the tokens of the whole batch
    # Of each datum's targets [T]; 0 where a position teaches nothing and so was not computed.
    # Float32, as a service sends them, and in float64 where the model computes in it.
    logprobs: Sequence[NDArray[np.floating]]
    metrics: dict[str, float] = field(default_factory=dict)  # of the loss, over the whole batch


class Stepped(NamedTuple):
    """What an optimiser step found."""

    grad_norm: float | None  # global, before clipping; None where a service does not tell it


class Pending(Protocol[T_co]):
    """Something that is, or will be, answered."""

    def result(self) -> T_co:
        """Wait for it; raises what went wrong."""
        ...


@dataclass(frozen=True)
class Done(Generic[T]):
    """A `Pending` that is answered already."""

    value: T

    def result(self) -> T:
        """It."""
        return self.value


class TrainingBackend(Protocol):
    """What a training loop runs on: one adapter of one base, and its optimiser.

    Settings of a pass are those of its loss, and `temperature`, which divides the logits.
    """

    def forward(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float] | None = None,
    ) -> Pending[Passed]:
        """The loss of a batch without dropout, nothing learnt from it."""
        ...

    def reference(
        self, datums: Sequence[Datum], loss_config: Mapping[str, float] | None = None
    ) -> Pending[Passed]:
        """The log-probabilities of the base without the adapter, of targets whose weight is not 0.

        Nothing is learnt from it, and nothing drops out. The loss is that of cross_entropy.
        """
        ...

    def forward_backward(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float] | None = None,
    ) -> Pending[Passed]:
        """Add the gradients of the loss of a whole batch."""
        ...

    def optim_step(self, adam: AdamParams) -> Pending[Stepped]:
        """One AdamW step on the gradients that were added since the last one."""
        ...

    def save(self, folder: str, label: Label) -> str:
        """Keep the adapter and what is needed to train on; returns the path that `load` takes.

        `folder` (a path or URL) becomes a checkpoint: the adapter itself or, where a service keeps
        it, the manifest that says where.
        """
        ...

    def load(self, path: str) -> None:
        """Continue exactly as the backend that saved `path` would have."""
        ...

    def snapshot(self, label: Label) -> Adapter | RemotePolicy:
        """The adapter as it is now, for sampling; where a service keeps it, its place there."""
        ...
