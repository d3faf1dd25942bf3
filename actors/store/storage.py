"""A storage root: a folder or any fsspec URL. Files appear whole or not at all, once."""

import os
import uuid
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from configs.errors import UserError


class Storage:
    """Files under one root, named by paths relative to it."""

    def __init__(self, root: str) -> None:
        try:
            self.fs, self.root = fsspec.core.url_to_fs(os.path.expanduser(root))
        except (ValueError, ImportError) as error:
            raise UserError(f'storage="{root}" cannot be used: {error}.') from None
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """The path of a file as people and libraries are shown it (a URL off the disk)."""
        full = f"{self.root}/{name}"
        return full if self.is_local else self.fs.unstrip_protocol(full)

    def exists(self, name: str) -> bool:
        """Whether the file or folder is there."""
        return self.fs.exists(f"{self.root}/{name}")

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders directly in `folder`, sorted; empty when it is absent."""
        if not self.exists(folder):
            return []
        return sorted(Path(p).name for p in self.fs.ls(f"{self.root}/{folder}", detail=False))

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        return self.fs.cat_file(f"{self.root}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.fs.rm_file(f"{self.root}/{name}")

    def write_new(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet; FileExistsError otherwise.

        On a disk it is written beside its place and linked into it, so that a kill leaves either
        the whole file or none; object stores put whole objects by themselves.
        """
        full = f"{self.root}/{name}"
        try:
            self.fs.makedirs(os.path.dirname(full), exist_ok=True)
            if self.is_local:
                _link_new(full, data)
            elif self.fs.exists(full):
                raise FileExistsError(full)
            else:
                self.fs.pipe_file(full, data)
        except FileExistsError:
            raise
        except OSError as error:
            raise UserError(
                f"{self.path(name)} cannot be written: {error.strerror or error}. "
                "Give another storage=, or make room there."
            ) from None


def _link_new(full: str, data: bytes) -> None:
    temporary = Path(f"{full}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, full)  # unlike a rename, a link never replaces what is there
    finally:
        temporary.unlink(missing_ok=True)
