"""The problems of a task: what is learned from and what is measured only, and where each stands."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

from actors.train.grpo.environment import Problem
from configs.base import digest


class Placed(NamedTuple):
    """A problem and where it stands."""

    where: str  # file:line, or what else a person finds it by
    problem: Problem


class Sides(NamedTuple):
    """The problems of both sides, as they were read."""

    training: list[Placed]
    held_out: list[Placed]


@dataclass(frozen=True)
class ProblemSet:
    """The checked problems of a task."""

    training: Sequence[Problem]
    held_out: Sequence[Problem]
    label: str  # what they are about, for the run's name
    digest: str  # of what they hold, not of names of files


def problem_set(sides: Sides, label: str) -> ProblemSet:
    """Both sides without their places."""
    training, held_out = ([placed.problem for placed in side] for side in sides)
    return ProblemSet(training, held_out, label, digest([_held(training), _held(held_out)]))


def _held(problems: Sequence[Problem]) -> list[list[object]]:
    """What problems hold, their keys left out: those name places."""
    return [list(astuple(problem)[1:]) for problem in problems]
