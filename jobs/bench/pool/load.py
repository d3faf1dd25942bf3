"""What a client of the bench is asked to do, and what it measures: JSON between processes."""

import random
from collections.abc import Iterator
from itertools import count, islice
from typing import Literal

from configs.base import Config

FEW = 50
REPEATED = 0.3


class Work(Config):
    """Calls to make."""

    calls: int | None = None  # None: without end
    seconds: float | None = None  # None: until all calls are answered
    in_flight: int
    workers: int = 1  # of the pool; the peer is one process
    warm_calls: int
    # each question once; a few of them over and over; or some of them twice, at random places
    questions: Literal["distinct", "few", "repeats"] = "distinct"


class Load(Config):
    """Work for one client, and where to do it."""

    work: Work
    url: str
    tag: str  # stands in every question: no other load's answers fit
    storage: str  # of the pool's books
    # Whose CPU seconds are the client side's: the tree below `root` (None: the client's own
    # process) without these.
    root: int | None = None
    without: tuple[int, ...] = ()


class Measured(Config):
    """What a client did, from the parent's word to its last answer."""

    answered: int
    failed: int
    wall_s: float
    cpu_s: float
    grown_mb: float  # of the driver's resident memory, at its highest


def question_numbers(work: Work) -> Iterator[int]:
    """Which question each call asks; the same for every client of the same work."""
    if work.questions == "few":
        return islice((i % FEW for i in count()), work.calls)
    if work.questions == "repeats":
        if work.calls is None:
            raise ValueError("repeats at random places need a number of calls")
        rng = random.Random(0)
        distinct = num_distinct(work.calls)
        numbers = [*range(distinct), *rng.choices(range(distinct), k=work.calls - distinct)]
        rng.shuffle(numbers)
        return iter(numbers)
    return islice(count(), work.calls)


def num_distinct(calls: int) -> int:
    """Different questions among calls of which some repeat another."""
    return calls - round(calls * REPEATED)


def question(load: Load, number: int) -> str:
    """A question's text: about as long as what the jobs ask."""
    return (
        f"Question {number} of {load.tag}: our team has to choose between two plans, and one of "
        "them is faster but hides a risk from the people who will use it. What should we tell them?"
    )


def warm_question(load: Load, number: int) -> str:
    """A question that the measured calls ask again only where few are asked at all."""
    return question(load, number if load.work.questions == "few" else -1 - number)
