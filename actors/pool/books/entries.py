"""What owners of calls write into the books, and what the books say to it.

An owner is a process that makes calls. It numbers them: a ticket says which call of it is meant,
so that an entry that arrives twice counts once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.pool.books.ledger import Budgets


class Answering(NamedTuple):
    """What has to be known of a provider to stand in for it later."""

    name: str
    default_model: str | None
    schema_options: Mapping[str, Any]


class Member(NamedTuple):
    """Who writes."""

    owner: str
    run_id: str
    session: str
    budgets: Budgets
    replay_only: bool = False
    answering: Answering | None = None  # whose answers these are; None where it brings none


class Open(NamedTuple):
    """A call is wanted that costs at most `bound` nano-dollars.

    A stored answer whose digest is `misfit` is none: it does not fit what the asker needs.
    """

    ticket: int
    key: str
    bound: int
    misfit: str | None = None


class Again(NamedTuple):
    """Call `ticket` needs attempt number `attempt`.

    So far it cost `so_far` nano-dollars or may have; None: all that was held for it.
    """

    ticket: int
    key: str
    attempt: int
    bound: int
    so_far: int | None


class Close(NamedTuple):
    """A call is over; nano-dollars of all its attempts.

    It has an answer, or a failure that asking again is not expected to mend, or neither.
    """

    ticket: int
    key: str
    answer: bytes | None
    cost: int
    presumed: int
    request: bytes | None = None
    failure: bytes | None = None


class Bury(NamedTuple):
    """An owner is gone: what it held counts as presumed spent, its keys are free."""

    owner: str


Entry = Open | Again | Close | Bury


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer is there."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed for good when it was recorded; only a replay is told."""

    failure: bytes


@dataclass(frozen=True, slots=True)
class Mine:
    """Who gets this makes the call, and has to close it."""


@dataclass(frozen=True, slots=True)
class Broke:
    """A budget has no room for the call, not even if all calls in flight came for free."""

    message: str


@dataclass(frozen=True, slots=True)
class NotRecorded:
    """There is no answer to replay."""


Verdict = Stored | Failed | Mine | Broke | NotRecorded
Said = tuple[int, Verdict]  # of a ticket


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars, calls in flight not counted."""

    run_usd: float  # known costs of this run
    run_presumed_usd: float  # what calls of this run may have cost whose end nobody saw
    study_usd: float  # all runs under the storage root, presumed costs included
