"""Read what the user names: a path or URL as it is given, else relative to the storage root."""

import hashlib
import os

import fsspec

from actors.store.storage import Storage
from configs.errors import UserError


def find_input(path: str, storage: Storage) -> str:
    """Where an input file or folder is; UserError when neither place has it.

    Jobs print names relative to the storage root; a driver on a cluster works elsewhere.
    """
    fs, plain = fsspec.core.url_to_fs(os.path.expanduser(path))
    if fs.exists(plain):
        return path
    if "://" not in path and storage.exists(path):
        return storage.path(path)
    beside = "" if os.path.isabs(path) else f", nor under storage={storage.path('')}"
    raise UserError(f"{path}: no such file{beside}.")


def read_input(path: str, storage: Storage) -> bytes:
    """The bytes of an input file; UserError when it cannot be read."""
    fs, plain = fsspec.core.url_to_fs(os.path.expanduser(find_input(path, storage)))
    try:
        return fs.cat_file(plain)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None


def content_digest(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()
