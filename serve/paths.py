"""Adapters from files: only under the storage root, only safetensors, only up to a size."""

import os

import fsspec

from actors.lm.adapter import TENSORS, Adapter, read_adapter
from actors.lm.refusals import RefusedAdapter
from actors.store.storage import Storage
from configs.errors import UserError


class AbsentAdapter(RefusedAdapter):
    """There is nothing at the path."""


def read_within(path: str, root: str, max_bytes: int) -> Adapter:
    """The adapter at a path that is relative to the storage root, or lies under it.

    Links are followed before the path is judged. AbsentAdapter, RefusedAdapter.
    """
    storage = Storage(root)
    full = _within(path, storage)
    fs, plain = fsspec.core.url_to_fs(full)
    if not fs.exists(plain):
        raise AbsentAdapter(f"{path}: no such folder under the server's storage root")
    try:
        size = fs.size(f"{plain}/{TENSORS}")
    except OSError:
        size = 0  # its absence is told by who reads it
    if size > max_bytes:
        raise RefusedAdapter(f"{path}: {size:,} bytes of tensors; this server takes {max_bytes:,}")
    try:
        return read_adapter(full)
    except UserError as error:
        raise RefusedAdapter(str(error).rstrip(".")) from None


def _within(path: str, storage: Storage) -> str:
    refusal = RefusedAdapter(f"{path}: adapters are read from the server's storage root only")
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
