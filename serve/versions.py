"""Versions that were given out under a storage root, over all servers that ever ran on it.

One small file a version, which appears whole or not at all and is never replaced: two servers on
one root cannot give the same version to different contents. It is written before the adapter is
loaded, for the same reason: a load that is refused then leaves its version used.
"""

import hashlib
import json
from contextlib import suppress

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
        files = [name for name in self._storage.names(_FOLDER) if name.endswith(".json")]
        entries = [json.loads(self._storage.read(f"{_FOLDER}/{file}")) for file in files]
        return {entry["model"]: entry["digest"] for entry in entries}

    def write(self, full: str, digest: str) -> bool:
        """Enter one; False when another server has given it to another content."""
        if self._storage is None:
            return True
        # A name may hold what a file's name may not.
        file = f"{_FOLDER}/{hashlib.sha256(full.encode()).hexdigest()}.json"
        entry = json.dumps({"model": full, "digest": digest})
        with suppress(FileExistsError):
            self._storage.write_new(file, entry.encode())
        return json.loads(self._storage.read(file))["digest"] == digest
