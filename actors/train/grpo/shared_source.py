"""The one source of rollouts, for every process of a team.

The leader's process has it; each method is called by all ranks and gives all of them its answer.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch

from actors.lm.adapter import Adapter
from actors.lm.requests import Question
from actors.lm.sampler import PolicySampler, Published, RemotePolicy
from actors.train.grpo.evaluation import Evaluated
from actors.train.grpo.rollout import Batch
from actors.train.grpo.source import RolloutSource

T = TypeVar("T")


class Team(Protocol):
    """Processes of which one leads."""

    leads: bool

    def once(self, make: Callable[[], T]) -> T:
        """What `make` gives to the leader, on every rank."""
        ...

    def waiting(self) -> None:
        """The leader still waits for something."""
        ...

    def meet(self) -> None:
        """Nobody goes on before everybody is here."""
        ...


class Delivered(NamedTuple):
    """A version that was handed over."""

    digest: str  # of what was given
    published: Published  # what the sampler says that it has
    probe: Question | None  # what `published.probe` answers


class SharedSource:
    """Open for the length of a block."""

    def __init__(self, team: Team, source: RolloutSource, sampler: PolicySampler) -> None:
        """`source` is not open yet, and on all ranks but the leader's never will be."""
        self._team, self._source, self._sampler = team, source, sampler

    def __enter__(self) -> "SharedSource":
        try:
            self._team.once(self._source.open)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what the leader's has begun."""
        if self._team.leads:
            self._source.close()

    def publish(self, version: int, policy: Callable[[], Adapter | RemotePolicy]) -> Delivered:
        """Hand over a version, which only the leader makes."""

        def deliver() -> Delivered:
            made = policy()
            published = self._source.publish(version, made)
            return Delivered(made.digest, published, self._sampler.probe)

        return self._team.once(deliver)

    def begin(self, step: int, position: int, rollbacks: int) -> None:
        """Sample for `step` (from 1) and those after it; what was begun before is dropped."""
        self._team.once(lambda: self._source.begin(step, position, rollbacks))

    def next(self, step: int) -> Batch:
        """The batch that a step learns from."""
        return self._team.once(lambda: self._source.next(step))

    def evaluate(self) -> Evaluated:
        """What the newest version is worth on held-out problems."""
        return self._team.once(self._source.evaluate)

    def sleep(self) -> None:
        """Leave the device to the trainer."""
        self._team.once(self._source.sleep)

    def wake(self) -> None:
        """Let the sampler have it back, without what torch keeps for the next pass."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self._team.meet()
        self._team.once(self._source.wake)
