"""How a job ends when it does not end well.

    UserError     what the user gave cannot be used                    exit code 2
    JobFailed     the job could not finish, what it finished is stored   exit code 1
    └── BudgetReached   it would have cost more than it may                exit code 3

Both are shown as one message without a stack trace; any other exception is a bug of ours.
"""

from collections.abc import Sequence
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: the message says what happened, to which input, and what mends it."""

    exit_code = 2


class JobFailed(Exception):
    """The job could not finish; what it finished is stored. Shown without a stack trace."""

    exit_code = 1


class BudgetReached(JobFailed):
    """A budget is used up; what was answered is stored, and a larger budget goes on from there."""

    exit_code = 3


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """` Did you mean "x"?` when a known word is close to `word`, else what is known."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f' Did you mean "{close[0]}"?'
    return f" Known: {', '.join(sorted(known))}."
