"""What judges said, kept for all runs that ask the same; what failed, kept for its own run alone.

A judgement is as good for another run. A call that failed for good (a model that the account may
not use, say) is the result of the run that made it, and another run may ask again.
"""

from typing import Any

from actors.store.records import Records
from jobs.properties.judge import Judged


class Judgements:
    """Judgements by key."""

    def __init__(self, shared: Records, failed: Records) -> None:
        self._shared, self._failed = shared, failed

    def __contains__(self, key: str) -> bool:
        return key in self._shared or key in self._failed

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._shared[key] if key in self._shared else self._failed[key]

    def __len__(self) -> int:
        return len(self._shared) + len(self._failed)

    def append(self, judged: Judged) -> None:
        """Store how a judgement ended."""
        records = self._shared if judged.failure is None else self._failed
        records.append(judged.key, **judged.row)

    def flush(self) -> None:
        """Write what is not written yet."""
        self._shared.flush()
        self._failed.flush()
