"""Names of adapters. `name@version` stands for one content for ever.

Versions count up and are never reused, also not after their adapter is gone. A bare name, and
`name@latest`, is its newest version. The base answers to `base` and to its own names, and nothing
replaces it.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE

LATEST = "@latest"
# Of a version 8 digits at most: there is always room for the next one.
_NAME = re.compile(r"(?P<name>[^@\s\x00-\x1f\x7f]{1,256})(@(?P<version>[1-9][0-9]{0,7}))?")


class Registry:
    """Hands out versions.

    `used` tells what earlier servers gave out: `name@version` -> digest.
    """

    def __init__(self, base_names: Collection[str], used: Mapping[str, str] | None = None) -> None:
        self.reserved = {BASE, *base_names}
        self._used: dict[str, dict[int, str]] = {}  # name -> version -> digest
        self._there: dict[str, str] = {}
        for full, digest in (used or {}).items():
            name, version = _parts(full)
            self._used.setdefault(name, {})[version] = digest

    def reserve(self, name: str, digest: str) -> str:
        """The `name@version` of a content that asks for `name` or `name@version`.

        A content that has the name's newest version already, from an earlier server, keeps it.
        RefusedAdapter for what is no name, the base's name, a version that stands for another
        content, and what is loaded already.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise RefusedAdapter(
                f'"{name[:300]}" is not a name; use NAME or NAME@VERSION, a name without '
                "spaces and of at most 256 characters, a version from 1 to 99999999"
            )
        if match["name"] in self.reserved:
            raise RefusedAdapter(f'"{match["name"]}" is the base model and cannot be replaced')
        used = self._used.setdefault(match["name"], {})
        newest = max(used, default=0)
        version = int(match["version"]) if match["version"] else newest
        if not match["version"] and used.get(newest) != digest:
            version += 1
        full = f"{match['name']}@{version}"
        if full in self._there and self._there[full] == digest:
            raise RefusedAdapter(f'"{name}" is already loaded with this content, as {full}')
        if used.get(version, digest) != digest:
            raise RefusedAdapter(f"version {version} of {match['name']} was already used")
        used[version] = digest
        return full

    def publish(self, full: str) -> None:
        """A reserved version can be asked from now on."""
        name, version = _parts(full)
        self._there[full] = self._used[name][version]

    def remove(self, name: str) -> list[str]:
        """Forget `name@version`, `name@latest`, or all versions of `name`; they stay used.

        Returns them.
        """
        if name in self.reserved:
            raise RefusedAdapter("the base cannot be unloaded")
        if name in self._there:
            gone = [name]
        elif name.endswith(LATEST):
            gone = [resolve(name, [BASE, *self._there], self.reserved)]
        else:
            gone = [full for full in self._there if _parts(full)[0] == name]
        if not gone:
            raise UnknownAdapter(name, [BASE, *self._there])
        for full in gone:
            del self._there[full]
        return gone

    def digests(self) -> dict[str, str]:
        """`name@version` -> digest of all that are there."""
        return dict(self._there)


def resolve(name: str, loaded: Sequence[str], base_names: Collection[str]) -> str:
    """The loaded name that a request's model means; UnknownAdapter when there is none."""
    if name in (BASE, *base_names):
        return BASE
    if name in loaded:
        return name
    bare = name.removesuffix(LATEST)
    versions = [full for full in loaded if full != BASE and _parts(full)[0] == bare]
    if not versions:
        raise UnknownAdapter(name, loaded)
    return max(versions, key=lambda full: _parts(full)[1])


def _parts(full: str) -> tuple[str, int]:
    name, _, version = full.rpartition("@")
    return name, int(version)
