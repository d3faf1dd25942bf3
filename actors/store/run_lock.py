"""One process in a run at a time: two would ask every question twice. A kill frees the lock."""

import fcntl
from pathlib import Path
from typing import IO

from actors.store.storage import Storage
from configs.errors import UserError

LOCK = ".lock"


def lock_run(storage: Storage, run_id: str) -> IO[bytes] | None:
    """The lock of a run on a disk, held until it is closed; object stores have none.

    Raises:
        UserError: another process holds it, or the place cannot be written.
    """
    if not storage.is_local:
        return None
    path = Path(storage.path(f"runs/{run_id}/{LOCK}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab")
    except OSError as error:
        raise UserError(
            f"{path.parent} cannot be written: {error.strerror}. Give another storage=."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserError(
            f'Run "{run_id}" is being computed by another process; '
            "wait for it, or give run_id=ANOTHER_NAME."
        ) from None
    return lock
