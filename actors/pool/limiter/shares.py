"""Max-min fair shares: none gets more than wanted, nor less than an equal part of the rest.

Jobs share first, then each job's workers share what it got: more workers are no larger share.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def max_min(capacity: float, wants: Mapping[Name, float]) -> dict[Name, float]:
    """`capacity` over those that want some of it; the smallest wants are met first."""
    shares: dict[Name, float] = {}
    left = capacity
    for done, name in enumerate(sorted(wants, key=wants.__getitem__)):
        shares[name] = min(wants[name], left / (len(wants) - done))
        left -= shares[name]
    return shares


def in_whole(capacity: int, shares: Mapping[Name, float], turn: int) -> dict[Name, int]:
    """Shares in whole numbers; what rounding leaves of `capacity` goes round with `turn`."""
    whole = {name: int(share + 1e-9) for name, share in shares.items()}
    broken = [name for name in shares if shares[name] - whole[name] > 1e-9]
    left = min(capacity - sum(whole.values()), len(broken))
    for i in range(left):
        whole[broken[(turn + i) % len(broken)]] += 1
    return whole


def job_shares(
    capacity: float, wants: Mapping[str, Mapping[str, float]], caps: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """What each (job, worker) gets; `caps` bound a job as a whole."""
    total = {job: min(sum(of.values()), caps[job]) for job, of in wants.items()}
    return {
        (job, worker): share
        for job, whole in max_min(capacity, total).items()
        for worker, share in max_min(whole, wants[job]).items()
    }
