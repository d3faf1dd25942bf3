"""Which groups and which rollouts are learned from, and with what reward."""

import numpy as np
from numpy.typing import NDArray

from actors.train.grpo.advantages import EQUAL
from actors.train.grpo.rollout import Group, Rollout
from configs.grpo import OverlongName


def rewards_of(group: Group, overlong: OverlongName) -> NDArray[np.float64]:
    """[G]: what its rollouts are worth; `penalise` gives those that were cut 0."""
    if overlong != "penalise":
        return group.rewards_G
    cut_G = np.array([rollout.is_cut for rollout in group.rollouts_G], bool)
    return np.where(cut_G, 0.0, group.rewards_G)


def is_learned(rollout: Rollout, overlong: OverlongName) -> bool:
    """Whether its tokens count: `mask` leaves those out that were cut.

    Its reward stays in the group's baseline (Yu et al. 2025, DAPO, section 3.4).
    """
    return not (overlong == "mask" and rollout.is_cut)


def has_signal(rewards_G: NDArray[np.float64]) -> bool:
    """Whether rewards [G] differ. A NaN does: it must not go unseen."""
    return len(rewards_G) > 1 and not np.ptp(rewards_G) <= EQUAL


def group_has_signal(group: Group, overlong: OverlongName) -> bool:
    """Whether there is anything to learn from a group (Yu et al. 2025, dynamic sampling)."""
    learned = any(is_learned(rollout, overlong) for rollout in group.rollouts_G)
    return learned and has_signal(rewards_of(group, overlong))
