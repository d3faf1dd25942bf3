"""The processes that run one loop together: what one of them has asked for, all of them get.

Passes need every rank; a sampler is asked by one. The others wait for it as long as it takes: a
word that it still waits goes round every second, so neither torch's time-outs nor the watchdog
take a long wait for a hang.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch.distributed as dist

from configs.errors import JobFailed, UserError

T = TypeVar("T")
_LEADER = 0


@dataclass(frozen=True)
class _Answer:
    """What the leader tells the others."""

    value: Any = None
    error: Exception | None = None


class Team:
    """All ranks of torch.distributed, or this process alone. Every rank makes one of them."""

    def __init__(self, on_progress: Callable[[], None] = lambda: None) -> None:
        """`on_progress` is called while somebody waits."""
        together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        # Objects do not go through NCCL; a group of its own keeps them apart from passes as well.
        made = dist.new_group(backend="gloo") if together else None
        self._group = cast(dist.ProcessGroup | None, made)
        self.leads = not together or dist.get_rank() == _LEADER
        self._on_progress = on_progress
        self._is_asked = False

    def once(self, make: Callable[[], T]) -> T:
        """What `make` gives to the leader, the only one that calls it; its error on every rank.

        A `make` that takes long calls `waiting` every second or so.
        """
        if self._group is None:
            return make()
        if not self.leads:
            return self._heard()
        self._is_asked = True
        try:
            value = make()
        except Exception as error:
            self._send(_Answer(error=_portable(error)))
            raise
        finally:
            self._is_asked = False
        self._send(_Answer(value))
        return value

    def waiting(self) -> None:
        """The leader still waits for something."""
        self._on_progress()
        if self._group is not None and self._is_asked:
            self._send(None)

    def meet(self) -> None:
        """Nobody goes on before everybody is here."""
        if self._group is not None:
            dist.barrier(self._group)

    def _heard(self) -> Any:
        while (answer := self._receive()) is None:
            self._on_progress()
        if answer.error:
            raise answer.error
        return answer.value

    def _send(self, said: _Answer | None) -> None:
        dist.broadcast_object_list([said], _LEADER, self._group)

    def _receive(self) -> _Answer | None:
        said: list[_Answer | None] = [None]
        dist.broadcast_object_list(said, _LEADER, self._group)
        return said[0]


def _portable(error: Exception) -> Exception:
    """Errors that end a job are the same everywhere; others may not survive the journey."""
    if isinstance(error, UserError | JobFailed):
        return error
    return RuntimeError(f"the first process failed: {type(error).__name__}: {error}")
