"""Names of adapters. `name@version` stands for one content for ever.

Versions count up and are never reused, also not after their adapter is gone. A bare name is its
newest version. The base answers to `base` and to its own names, and nothing replaces it.
"""

import re
from collections.abc import Collection, Sequence

from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE

_NAME = re.compile(r"(?P<name>[^@\s]+)(@(?P<version>[0-9]{1,9}))?")


class Registry:
    """Hands out versions."""

    def __init__(self, base_names: Collection[str]) -> None:
        self._reserved = {BASE, *base_names}
        self._digests: dict[str, str] = {}
        self._used: dict[str, set[int]] = {}

    def add(self, name: str, digest: str) -> str:
        """Enter `name` (its next version) or `name@version`, and return `name@version`."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise RefusedAdapter(f'"{name}" is not a name; use NAME or NAME@VERSION, no spaces')
        if match["name"] in self._reserved:
            raise RefusedAdapter(f'"{match["name"]}" is the base model and cannot be replaced')
        used = self._used.setdefault(match["name"], set())
        version = int(match["version"]) if match["version"] else max(used, default=0) + 1
        if version in used:
            raise RefusedAdapter(f"version {version} of {match['name']} was already used")
        used.add(version)
        full = f"{match['name']}@{version}"
        self._digests[full] = digest
        return full

    def remove(self, full: str) -> None:
        """Forget an adapter; its version stays used."""
        del self._digests[full]

    def digests(self) -> dict[str, str]:
        """`name@version` -> digest of all that are there."""
        return dict(self._digests)


def resolve(name: str, loaded: Sequence[str], base_names: Collection[str]) -> str:
    """The loaded name that a request's model means; UnknownAdapter when there is none."""
    if name in (BASE, *base_names):
        return BASE
    if name in loaded:
        return name
    versions = [full for full in loaded if "@" in full and full.rpartition("@")[0] == name]
    if not versions:
        raise UnknownAdapter(name, loaded)
    return max(versions, key=lambda full: int(full.rpartition("@")[2]))
