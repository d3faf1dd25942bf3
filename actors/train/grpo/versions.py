"""The versions of the policy that its sampler holds, and who still samples from them.

A version goes once a newer one is there and no rollout in flight uses it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from actors.lm.sampler import Published


class Version(NamedTuple):
    """A version that can be sampled from."""

    number: int
    published: Published


class Versions:
    """Knows the newest version; belongs to one event loop."""

    def __init__(self, retire: Callable[[str], None]) -> None:
        """`retire` is told the model of each version that nobody will use again."""
        self._retire = retire
        self._newest: Version | None = None
        self._uses: Counter[str] = Counter()  # by model
        self._changed = asyncio.Event()

    def add(self, version: Version) -> None:
        """From now on it is the newest."""
        old, self._newest = self._newest, version
        if old is not None and not self._uses[old.published.model]:
            self._retire(old.published.model)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def reach(self, number: int) -> None:
        """Wait until the newest version has at least this number."""
        while self._newest is None or self._newest.number < number:
            await self._changed.wait()

    @contextmanager
    def newest(self) -> Iterator[Version]:
        """The newest version, kept for as long as the block runs."""
        version = self._newest
        if version is None:
            raise RuntimeError("no version of the policy is published")
        model = version.published.model
        self._uses[model] += 1
        try:
            yield version
        finally:
            self._uses[model] -= 1
            if not self._uses[model] and version is not self._newest:
                self._retire(model)
