"""The one error that means "what you gave me cannot be used".

Every other exception that leaves a job is a bug of ours and exits with 1.

    UserError     exit code 2, its message is shown without a stack trace
"""

from collections.abc import Sequence
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: the message says what happened, to which input, and what mends it."""

    exit_code = 2


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """` Did you mean "x"?` when a known word is close to `word`, else what is known."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f' Did you mean "{close[0]}"?'
    return f" Known: {', '.join(sorted(known))}."
