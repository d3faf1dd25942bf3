"""Which rows are learned and which are only measured. Equal rows are never on both sides."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from actors.train.data.datums import Taught

_STREAM = 2  # of the seed


def divided(taught: Sequence[Taught], share: float, seed: int) -> tuple[list[Taught], list[Taught]]:
    """What is learned, and a random share of the rows that is measured; both in the given order.

    That is at least one row, where `share` is not 0, and never all of them. It is fewer than the
    share where groups of equal rows are larger than what is left to fill.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for place, (row, _) in enumerate(taught):
        groups[row.said].append(place)
    wanted = min(max(1, round(share * len(taught))), len(taught) - 1) if share else 0
    members = list(groups.values())
    measured: set[int] = set()
    for group in np.random.default_rng([seed, _STREAM]).permutation(len(members)):
        if len(measured) + len(members[group]) <= wanted:
            measured.update(members[group])
    sides: tuple[list[Taught], list[Taught]] = ([], [])
    for place, one in enumerate(taught):
        sides[place in measured].append(one)
    return sides


def unseen(measured: Sequence[Taught], learned: Sequence[Taught]) -> list[Taught]:
    """Those rows that are not learned."""
    seen = {row.said for row, _ in learned}
    return [one for one in measured if one[0].said not in seen]
