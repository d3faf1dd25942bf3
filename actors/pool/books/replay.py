"""What stands in for a provider when its stored answers are replayed.

replay                 the answers of the storage root
replay:FILE            those of a file that `export_calls` wrote, taken into the root's books
replay#NAME            where there are several providers, the one called NAME
replay:FILE#NAME
"""

from typing import NamedTuple

from actors.pool.books.entries import Answering
from actors.pool.books.imports import read_calls, take_calls
from actors.pool.books.journal import has_books, open_books
from actors.store.inputs import read_input
from actors.store.storage import Storage
from configs.errors import UserError, did_you_mean

REPLAY = "replay"


class Replayed(NamedTuple):
    """A provider whose answers are stored, and where they came from."""

    answering: Answering
    source: str


def is_replay(name: str) -> bool:
    """Whether `provider=name` asks for a replay."""
    return name.partition("#")[0].partition(":")[0] == REPLAY


def find_replay(name: str, root: str) -> Replayed:
    """The provider that `provider=name` replays on the storage root `root`.

    Raises:
        UserError: nothing is stored, the file is no export, or NAME is missing or unknown.
    """
    given, _, wanted = name.partition("#")
    _, _, path = given.partition(":")
    storage = Storage(root)
    if path:
        calls = read_calls(path, read_input(path, storage))
        chosen, source = _choose(given, wanted, path, calls.providers), path
    else:
        calls, source = None, storage.path("").rstrip("/")
        chosen = _choose(given, wanted, source, _stored_providers(root))
    if calls is not None:
        store, journal = open_books(root)
        try:
            take_calls(store, calls)
            if journal is not None:
                journal.save()
        finally:
            store.close()
    return Replayed(chosen, source)


def _stored_providers(root: str) -> dict[str, Answering]:
    if not has_books(root):
        return {}
    store, _ = open_books(root)
    try:
        return store.providers()
    finally:
        store.close()


def _choose(given: str, wanted: str, source: str, found: dict[str, Answering]) -> Answering:
    if not found:
        raise UserError(
            f"provider={given}: no calls are stored in {source}. Give provider=replay:FILE with a "
            "file that `python -m jobs export_calls` wrote, or another storage=."
        )
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(found)
    if not wanted:
        raise UserError(
            f"provider={given}: {source} holds calls to several providers ({names}). "
            f"Say which: provider={given}#{next(iter(found))}."
        )
    if wanted not in found:
        raise UserError(
            f"provider={given}#{wanted}: {source} holds calls to {names}."
            + did_you_mean(wanted, list(found))
        )
    return found[wanted]
