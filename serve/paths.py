"""Adapters from files: only under the storage root, only safetensors, only up to a size."""

import os

import fsspec

from actors.lm.adapter import CONFIG, MANIFEST, TENSORS, Adapter, read_adapter
from actors.lm.refusals import RefusedAdapter
from actors.store.storage import Storage
from configs.errors import UserError

_MOST_JSON = 10**6  # bytes of a config or a manifest


class RefusedPath(RefusedAdapter):
    """What is at the path cannot be used."""


class AbsentAdapter(RefusedPath):
    """There is nothing at the path."""


def read_within(path: str, root: str, max_bytes: int) -> Adapter:
    """The adapter at a path that is relative to the storage root, or lies under it.

    Links are followed before the path is judged, and each file in it.
    AbsentAdapter, RefusedPath.
    """
    storage = Storage(root)
    full = _within(path, storage)
    fs, plain = fsspec.core.url_to_fs(full)
    if not fs.exists(plain):
        raise AbsentAdapter(f"{path}: no such folder under the server's storage root")
    for file, most in ((CONFIG, _MOST_JSON), (MANIFEST, _MOST_JSON), (TENSORS, max_bytes)):
        if not fs.exists(f"{plain}/{file}"):
            continue  # its absence is told by who reads it
        if storage.is_local:
            found = _within(os.path.join(path, file), storage)
            # Others have no end, or wait for a writer.
            if not os.path.isfile(found):
                raise RefusedPath(f"{path}: {file} is not a file")
        size = fs.size(f"{plain}/{file}") or 0
        if size > most:
            raise RefusedPath(f"{path}: {size:,} bytes of {file}; this server takes {most:,}")
    try:
        return read_adapter(full)
    except UserError as error:
        # Where the storage root lies is not for clients.
        raise RefusedPath(str(error).replace(full, path).rstrip(".")) from None


def _within(path: str, storage: Storage) -> str:
    refusal = RefusedPath(f"{path}: adapters are read from the server's storage root only")
    if "\0" in path:
        raise refusal
    if storage.is_local:
        if "://" in path:
            raise refusal
        root = os.path.realpath(storage.root)
        full = os.path.realpath(os.path.join(root, path))
        if full != root and os.path.commonpath([root, full]) != root:
            raise refusal
        return full
    full = path if "://" in path else storage.path(path)
    root = storage.path("").rstrip("/")
    if ".." in full.split("/") or not full.startswith(f"{root}/"):
        raise refusal
    return full
