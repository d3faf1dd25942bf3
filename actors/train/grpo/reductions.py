"""From a sum over tokens to a mean: what each token of an optimiser's batch counts.

The factors are made once for the whole batch, before it is split over ranks and micro-batches: how
it is split changes nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from configs.grpo import ReductionName


def token_factors(
    lengths_D: Sequence[int], name: ReductionName, max_tokens: int
) -> NDArray[np.float64]:
    """[D]: the factor of every token of each of D answers, of such lengths; 0 for an empty one.

    - token: 1 / all tokens. Long answers weigh more (Yu et al. 2025, DAPO, eq. 8).
    - sequence: 1 / (answers * the answer's length) (Shao et al. 2024, GRPO, eq. 3).
    - dr_grpo: 1 / (answers * max_tokens), so that no answer's length changes what its tokens count
      (Liu et al. 2025, Dr. GRPO).
    """
    lengths = np.asarray(lengths_D, np.float64)
    said = lengths > 0
    if name == "token":
        of_each = np.full_like(lengths, lengths.sum())
    else:
        of_each = said.sum() * (
            lengths if name == "sequence" else np.full_like(lengths, max_tokens)
        )
    return np.divide(1.0, of_each, out=np.zeros_like(lengths), where=said)
