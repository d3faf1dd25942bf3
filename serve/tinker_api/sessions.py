"""Sessions: an SDK client's, from its first request until it ends or falls silent.

The SDK sends a sign of life every ten seconds. What a silent session holds (adapters in training,
samplers) is given back; checkpoints stay.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serve.openai.errors import Failure, Refused
from serve.tinker_api.paths import absent, session_of

IDLE_S = 900.0  # longer than a laptop sleeps between two trains


@dataclass
class Session:
    """One of them, and what it has made."""

    id: str
    seen_s: float
    user_metadata: dict[str, Any] | None = None
    display_name: str | None = None
    runs: list[str] = field(default_factory=list)  # its training clients


def _new_id() -> str:
    return uuid.uuid4().hex


class Sessions:
    """All that were opened, in their order."""

    def __init__(self, clock: Callable[[], float], new_id: Callable[[], str] = _new_id) -> None:
        self._clock, self._new_id = clock, new_id
        self._open: dict[str, Session] = {}
        self._over: set[str] = set()

    def open(self, user_metadata: dict[str, Any] | None, display_name: str | None) -> Session:
        """A new one."""
        session = Session(self._new_id(), self._clock(), user_metadata, display_name)
        self._open[session.id] = session
        return session

    def alive(self, identifier: str) -> Session:
        """The session of a run, a sampler or a request, or by its own id; it gave a sign of life.

        404 where there never was one here (also after a restart), 410 where it is over.
        """
        found = self._open.get(session_of(identifier))
        if found is not None:
            found.seen_s = self._clock()
            return found
        if session_of(identifier) in self._over:
            raise Refused(
                Failure(
                    410,
                    f"The session ended, or was silent for {IDLE_S:g} s. Make a new ServiceClient, "
                    "and training clients from their last checkpoints.",
                    code="session_over",
                )
            )
        raise absent(f'there is no session "{session_of(identifier)[:100]}" on this server')

    def close(self, session_id: str) -> Session | None:
        """The session, which is over from now on; None when it was before. 404 as in `alive`."""
        if session_id in self._over:
            return None
        session = self.alive(session_id)
        del self._open[session.id]
        self._over.add(session.id)
        return session

    def silent(self) -> list[str]:
        """Those that gave no sign of life for long."""
        oldest_s = self._clock() - IDLE_S
        return [session.id for session in self._open.values() if session.seen_s < oldest_s]

    @property
    def ids(self) -> list[str]:
        """Those that are open, the newest first."""
        return list(reversed(self._open))
