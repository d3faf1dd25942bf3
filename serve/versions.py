"""Versions that were given out under a storage root, over all servers that ever ran on it.

One small file a version, which appears whole or not at all and is never replaced: two servers on
one root cannot give the same version to different contents.
"""

from contextlib import suppress
from urllib.parse import quote, unquote

from actors.store.storage import Storage

_FOLDER = "serving/versions"


class Versions:
    """`name@version` -> digest, kept in files; without a storage root nothing is kept."""

    def __init__(self, root: str | None) -> None:
        self._storage = None if root is None else Storage(root)

    def read(self) -> dict[str, str]:
        """All that were ever given out."""
        if self._storage is None:
            return {}
        return {
            unquote(file): self._storage.read(f"{_FOLDER}/{file}").decode()
            for file in self._storage.names(_FOLDER)
            if not file.endswith(".tmp")
        }

    def write(self, full: str, digest: str) -> bool:
        """Enter one; False when another server has given it to another content."""
        if self._storage is None:
            return True
        file = f"{_FOLDER}/{quote(full, safe='@')}"
        with suppress(FileExistsError):
            self._storage.write_new(file, digest.encode())
        return self._storage.read(file).decode() == digest
