"""A datum: what one row of a batch is to the trainer.

The arrays and their names are Tinker's, so the same datum goes to any backend. Position t holds
the token that the model reads and the token that it should say next.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Datum:
    """One sequence of T tokens, with Tinker's arrays.

    Those are `weights` for cross_entropy, `logprobs` (the sampler's own, of the targets) and
    `advantages` for the losses of reinforcement learning.
    """

    token_ids: NDArray[np.int64]  # [T]
    target_ids: NDArray[np.int64]  # [T]
    weights: NDArray[np.floating] | None = None  # [T]
    logprobs: NDArray[np.float32] | None = None  # [T]
    advantages: NDArray[np.float32] | None = None  # [T]

    def __len__(self) -> int:
        return len(self.token_ids)

    def taught(self, loss: str) -> NDArray[np.bool_]:
        """[T], true where a position can change a loss, its weight or advantage not being 0."""
        shares = self.weights if loss == "cross_entropy" else self.advantages
        return np.ones(len(self), bool) if shares is None else shares != 0

    @property
    def target_tokens(self) -> int:
        """Positions that cross_entropy learns from."""
        return int(np.count_nonzero(self.taught("cross_entropy")))


def normalised(batch: Sequence[Datum]) -> list[Datum]:
    """The batch with weights that sum to 1, so that a sum over tokens is a mean per target token.

    The sum runs over the whole batch: how it is then split over ranks and micro-batches changes
    nothing.
    """
    weights = [_weights(datum) for datum in batch]
    total = np.float32(sum(float(shares.sum()) for shares in weights))
    # A batch that teaches nothing stays one of zeros.
    return [
        replace(datum, weights=shares / (total or np.float32(1)))
        for datum, shares in zip(batch, weights, strict=True)
    ]


def data_digest(datums: Sequence[Datum]) -> str:
    """Hex SHA-256 of a data set's tokens and weights, in their order."""
    sha = hashlib.sha256()
    for datum in datums:
        sha.update(len(datum).to_bytes(8, "little"))
        for array in (datum.token_ids, datum.target_ids, _weights(datum)):
            sha.update(array.tobytes())
    return sha.hexdigest()


def _weights(datum: Datum) -> NDArray[np.floating]:
    return np.ones(len(datum), np.float32) if datum.weights is None else datum.weights
