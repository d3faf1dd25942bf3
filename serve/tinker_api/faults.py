"""What a client is told of work for it that failed in the trainer."""

import traceback
from collections.abc import Callable
from typing import TypeVar

from configs.errors import UserError
from serve.openai.errors import Refused
from serve.tinker_api.futures import Failed

T = TypeVar("T")


def told(work: Callable[[], T], storage_root: str) -> T | Failed:
    """What the work gives, or what went wrong. Where the storage root lies is not for clients."""
    try:
        return work()
    except Failed as failure:
        return failure
    except (UserError, Refused, ValueError) as error:
        return Failed(_without(storage_root, error).rstrip("."))
    except Exception as error:  # a full disk, a full GPU, a fault of ours: its adapter has met it
        traceback.print_exc()
        text = f"the trainer failed: {type(error).__name__}: {_without(storage_root, error)}"
        return Failed(text, "server")


def _without(storage_root: str, error: Exception) -> str:
    return str(error).replace(storage_root, "the server's storage")
