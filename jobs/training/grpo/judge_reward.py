"""A property as a reward: what a judge's scores from 0 to 100 are worth, and what judges are told.

An answer that is less coherent than the floor earns nothing, whichever way the property counts: a
policy that only writes what a judge likes to see forgets how to speak.
"""

from collections.abc import Callable
from dataclasses import dataclass

from actors.train.grpo.environment import Reward
from configs.grpo import JudgeRewardConfig
from jobs.judging.rubrics import Rubric, parse_rubric
from jobs.judging.templates import rubric_text


@dataclass(frozen=True)
class RewardRubrics:
    """What judges of a reward are told."""

    of_property: Rubric
    of_coherence: Rubric

    @property
    def hashes(self) -> list[str]:
        """Name both."""
        return [self.of_property.hash, self.of_coherence.hash]


def reward_rubrics(config: JudgeRewardConfig, read: Callable[[str], bytes]) -> RewardRubrics:
    """The user's rubric where one is given, else the project's; UserError where it is none."""
    given = config.rubric
    own = parse_rubric(given, read(given)) if given else Rubric(rubric_text("number"))
    return RewardRubrics(own, Rubric(rubric_text("coherence")))


def reward_of(score: float, coherence: float | None, config: JudgeRewardConfig) -> Reward:
    """What scores from 0 to 100 are worth, from 0 to 1; no coherence where nobody judged it."""
    value = (score if config.direction == "more" else 100 - score) / 100
    if coherence is None:
        return Reward(value, details={"score": score})
    is_coherent = coherence >= config.coherence_floor
    details: dict[str, float | str] = {"score": score, "coherence": coherence}
    return Reward(value if is_coherent else 0.0, details=details)
