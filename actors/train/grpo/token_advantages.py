"""What each token of an answer is worth: the answer's advantage, less the KL, times its weight."""

import numpy as np
import torch
from numpy.typing import NDArray

from actors.train.grpo.kl import k1
from actors.train.grpo.lessons import Lesson
from actors.train.grpo.off_policy import truncated_weights
from configs.grpo import GrpoConfig


def token_advantages(
    lesson: Lesson,
    old: NDArray[np.floating],
    base: NDArray[np.floating] | None,
    config: GrpoConfig,
) -> NDArray[np.float64]:
    """[T], 0 where the policy did not speak.

    Args:
        lesson: the sequence; its sampler weighs where the config caps such weights.
        old: the trainer's log-probabilities [T] before the first update.
        base: the base's [T]; None where it does not count. In the reward each token pays k1.
        config: what counts.
    """
    trainer = torch.from_numpy(old)
    worth = torch.full_like(trainer, lesson.advantage, dtype=torch.float64)
    if base is not None and config.kl_in == "reward":
        worth -= config.kl_to_base * k1(trainer, torch.from_numpy(base))
    if config.is_cap is not None:
        assert lesson.datum.logprobs is not None
        sampler = torch.from_numpy(lesson.datum.logprobs)
        worth *= truncated_weights(trainer, sampler, config.is_cap)
    return worth.numpy() * lesson.said
