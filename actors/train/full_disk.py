"""A disk that has no room for a checkpoint."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import JobFailed

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def told_when_full(path: str) -> Iterator[None]:
    """A full disk fails the job; other faults of a disk may pass, and are tried again."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise JobFailed(
            f"{path} cannot be written: {error.strerror}. Earlier checkpoints are kept: make room "
            "there (keep_last=2 keeps only the newest and the best), and the same command "
            "continues the run."
        ) from None
