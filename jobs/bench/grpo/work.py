"""What a side of the bench is asked to train, and what it measures: JSON between processes."""

from configs.base import Config
from configs.grpo import GrpoConfig


class Start(Config):
    """What a side loads before it is given work."""

    base: str
    folder: str  # for what is written
    one_thread: bool = True  # ours: one for the sampler and one for the trainer


class Work(Config):
    """Steps that are each of all the questions."""

    questions: list[str]
    group_size: int
    max_tokens: int  # exactly: the base never ends an answer
    warm_steps: int  # not measured
    steps: int  # measured, after those
    max_staleness: int = 0  # ours
    micro_batch: int = 8  # the peer's: answers that are learned from at once

    @property
    def answers(self) -> int:
        """Answers that are sampled in a step."""
        return len(self.questions) * self.group_size

    @property
    def tokens(self) -> int:
        """Tokens that are sampled in a step."""
        return self.answers * self.max_tokens


class Measured(Config):
    """What the measured steps took, and what came of them."""

    wall_s: float  # of all of them together, from the end of the last warm one
    tokens: int  # sampled in one of them
    reward: float  # mean over them
    spread: float  # of the rewards within a group, mean over them
    sampling_s: float  # of a step, mean over them
    handovers_s: list[float]  # ours: from each step's end to the new version's first token


def settings(start: Start, work: Work) -> GrpoConfig:
    """How both sides train: our defaults."""
    return GrpoConfig(
        base_model=start.base,
        steps=work.warm_steps + work.steps,
        problems_per_batch=len(work.questions),
        group_size=work.group_size,
        max_tokens=work.max_tokens,
        max_staleness=work.max_staleness,
        show_every=0,
    )
