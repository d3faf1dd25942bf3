"""What the base says of a batch, asked of a sampler of the service: it scores whole sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tinker
from numpy.typing import NDArray

from actors.train.backend import Passed
from actors.train.datum import Datum
from actors.train.on_tinker.faults import told


@dataclass(frozen=True)
class Referenced:
    """The base's log-probabilities, asked for sequence by sequence."""

    datums: Sequence[Datum]
    futures: Sequence[tinker.APIFuture[list[float | None]]]
    patience_s: float  # for each, once those before it are in

    def result(self) -> Passed:
        """Wait for all of them."""
        pairs = zip(self.datums, self.futures, strict=True)
        logprobs = [self._of(datum, future) for datum, future in pairs]
        pairs = zip(self.datums, logprobs, strict=True)
        return Passed(-sum(float((_weights(datum) * own).sum()) for datum, own in pairs), logprobs)

    def _of(self, datum: Datum, future: tinker.APIFuture[list[float | None]]) -> NDArray:
        with told("compute_logprobs of the base"):
            numbers = future.result(timeout=self.patience_s)
        own = np.array([0.0 if one is None else one for one in numbers[1:]], np.float32)
        return np.where(_weights(datum) != 0, own, np.float32(0))


def ask_reference(
    base: tinker.SamplingClient, datums: Sequence[Datum], patience_s: float
) -> Referenced:
    """Ask the base for the targets of each datum, which must be the tokens that follow."""
    futures = [base.compute_logprobs(_sequence(datum)) for datum in datums]
    return Referenced(datums, futures, patience_s)


def _sequence(datum: Datum) -> tinker.ModelInput:
    """The tokens and the last target [T + 1]."""
    if not np.array_equal(datum.token_ids[1:], datum.target_ids[:-1]):
        raise ValueError("a sampler scores sequences: targets must be the tokens that follow")
    return tinker.ModelInput.from_ints([*datum.token_ids.tolist(), int(datum.target_ids[-1])])


def _weights(datum: Datum) -> NDArray:
    return np.ones(len(datum), np.float32) if datum.weights is None else datum.weights
