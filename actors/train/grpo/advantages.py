"""What each rollout of a group is worth beside the others: the group is its own baseline."""

import numpy as np
from numpy.typing import NDArray

from configs.grpo import AdvantageName

EQUAL = 1e-6  # rewards that differ by no more say nothing


def advantages(rewards_G: NDArray[np.float64], name: AdvantageName) -> NDArray[np.float64]:
    """[..., G] of rewards [..., G]; ValueError for groups of one.

    - mean: the reward less its group's mean. They sum to 0, and a problem's own scale is kept
      (Liu et al. 2025, "Understanding R1-Zero-like training", Dr. GRPO).
    - std: that over the group's sample standard deviation (Shao et al. 2024, "DeepSeekMath", GRPO).
    - leave_one_out: the reward less the mean of the others' (Kool et al. 2019; Ahmadian et al.
      2024, RLOO), which is G / (G - 1) times that of `mean`.
    """
    group = rewards_G.shape[-1]
    if group < 2:
        raise ValueError(f"a group of {group} has no baseline: it takes 2 rollouts or more")
    centred = rewards_G - rewards_G.mean(axis=-1, keepdims=True)
    if name == "std":
        return centred / (rewards_G.std(axis=-1, ddof=1, keepdims=True) + EQUAL)
    return centred * group / (group - 1) if name == "leave_one_out" else centred
