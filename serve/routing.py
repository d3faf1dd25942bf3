"""Which replica a request goes to: one that holds its adapter, unless others have much less to do.

A replica without the adapter would first load it, and push out one that others may come back for.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ray.serve.request_router import FIFOMixin, PendingRequest, RequestRouter, RunningReplica

from actors.lm.refusals import UnknownAdapter
from actors.lm.requests import BASE
from serve.registry import resolve

RESIDENT = "resident"  # the entry of a replica's routing stats

_CANDIDATES = 2  # whoever has less to do of two is nearly as good as the best of all

T = TypeVar("T")


def rank(
    holders: Mapping[T, bool], queued: Mapping[T, int], overfull: int, chance: random.Random
) -> list[list[T]]:
    """Replicas in the order in which they are to be asked: a list of equally good ones first.

    Args:
        holders: for each replica, whether it holds the adapter.
        queued: requests that it had when it last said so.
        overfull: a holder with so many more than the least busy one is not preferred.
        chance: which two of many.
    """
    least = min(queued.values(), default=0)
    good = [one for one, holds in holders.items() if holds and queued[one] < least + overfull]
    others = [one for one in holders if one not in good]
    picks = [_some(group, chance) for group in (good, others)]
    return [group for group in picks if group]


def _some(group: Sequence[T], chance: random.Random) -> list[T]:
    return chance.sample(group, min(_CANDIDATES, len(group)))


class HoldersFirst(FIFOMixin, RequestRouter):
    """Ray Serve's way to ask for it."""

    def initialize_state(self, **kwargs: Any) -> None:
        """Settings of the deployment: `overfull`."""
        self._overfull, self._chance = kwargs["overfull"], random.Random()

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """See `rank`."""
        model = _model(pending_request)
        by_id = {replica.replica_id: replica for replica in candidate_replicas}
        queued = {one: self.replica_queue_len_cache.get(one) or 0 for one in by_id}
        holders = {one: _holds(replica.routing_stats, model) for one, replica in by_id.items()}
        ranked = rank(holders, queued, self._overfull, self._chance)
        return [[by_id[one] for one in group] for group in ranked]


def _model(pending: PendingRequest | None) -> str:
    asked: Any = pending.args[0] if pending is not None and pending.args else None
    return getattr(asked, "model", BASE)


def _holds(stats: Mapping[str, Any], model: str) -> bool:
    try:
        return resolve(model, [BASE, *stats.get(RESIDENT, ())], ()) is not None
    except UnknownAdapter:
        return False
