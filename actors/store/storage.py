"""A storage root: a folder or any fsspec URL. Files appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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
        with self._place(name) as full:
            if self.is_local:
                with _beside(full, data) as temporary:
                    os.link(temporary, full)  # unlike a rename, it never replaces what is there
            elif self.fs.exists(full):
                raise FileExistsError(full)
            else:
                self.fs.pipe_file(full, data)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that is there: a reader meets the old one or the new."""
        with self._place(name) as full:
            if self.is_local:
                with _beside(full, data) as temporary:
                    os.replace(temporary, full)
            else:
                self.fs.pipe_file(full, data)

    @contextmanager
    def _place(self, name: str) -> Iterator[str]:
        """Where a file is to stand, in a folder that is there; UserError where it cannot."""
        full = f"{self.root}/{name}"
        try:
            self.fs.makedirs(os.path.dirname(full), exist_ok=True)
            yield full
        except FileExistsError:
            raise
        except OSError as error:
            raise UserError(
                f"{self.path(name)} cannot be written: {error.strerror or error}. "
                "Give another storage=, or make room there."
            ) from None


@contextmanager
def _beside(full: str, data: bytes) -> Iterator[Path]:
    """The data in a file beside its place, for the length of a block."""
    temporary = Path(f"{full}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
