"""Checkpoints whose weights a service keeps: where they are there. Needs no SDK."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import fsspec

from actors.lm.adapter import CONFIG, MANIFEST, Manifest
from actors.train.checkpoint import REMOTE
from configs.base import digest
from configs.errors import UserError

TINKER = "tinker://"


class Kept(NamedTuple):
    """The two forms in which a service keeps a checkpoint: to train on, and to sample from."""

    state: str
    sampler: str


@dataclass(frozen=True)
class RemoteAdapter:
    """An adapter that only its service can sample from."""

    path: str
    manifest: Manifest | None = None


def path_digest(url: str, path: str, saved_at: datetime | None) -> str:
    """What stands for a content that nobody here has seen: a digest of where it is, marked as one.

    A path that was deleted may be saved again, and a model's name is known to many services: hence
    the time (None where the service tells none) and the service's address.
    """
    return f"path:{digest([url, path, saved_at and saved_at.isoformat()])}"


def read_kept(folder: str) -> Kept:
    """Where the service keeps a checkpoint; UserError when the folder does not say."""
    fs, root = fsspec.core.url_to_fs(folder)
    try:
        return Kept(**json.loads(fs.cat_file(f"{root}/{REMOTE}")))
    except FileNotFoundError:
        raise UserError(
            f"{folder}: {REMOTE} is missing, so the service cannot go on from here."
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder}/{REMOTE}: damaged: {error}.") from None


def read_remote(folder: str) -> RemoteAdapter | None:
    """The adapter of a checkpoint whose weights the service did not give away."""
    fs, root = fsspec.core.url_to_fs(folder)
    if fs.exists(f"{root}/{CONFIG}") or not fs.exists(f"{root}/{REMOTE}"):
        return None
    manifest = Manifest(**json.loads(fs.cat_file(f"{root}/{MANIFEST}")))
    return RemoteAdapter(read_kept(folder).sampler, manifest)
