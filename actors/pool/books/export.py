"""The calls of a study as one file: a header, then a stored call a line, gzipped by its suffix.

The file is read whole or refused: its header says how many calls follow. Calls go in and out one
by one; a study need not fit into memory.
"""

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import fsspec

from actors.pool.books.entries import Answering
from actors.pool.books.rows import answering_to_json, row_to_json
from actors.pool.books.store import Store
from configs.errors import UserError

FORMAT, VERSION = "hothouse-calls", 1


class Exported(NamedTuple):
    """What a file of calls holds."""

    num_answers: int
    num_failures: int
    providers: list[str]


def export_calls(store: Store, path: str) -> Exported:
    """Write all calls of `store` to a new file (a path or an fsspec URL)."""
    fs, plain = fsspec.core.url_to_fs(os.path.expanduser(path))
    if fs.exists(plain):
        raise UserError(f"{path} is there already, and nothing is overwritten: give another out=.")
    with store.reading():
        head = _header(store)
        exported = Exported(head["answers"], head["failures"], sorted(head["providers"]))
        if not exported.providers:
            raise UserError("No calls are stored under this storage=: there is nothing to export.")
        try:
            fs.makedirs(os.path.dirname(plain) or ".", exist_ok=True)
            # The file appears whole.
            with fs.transaction, fs.open(plain, "wb") as raw, _packed(raw, path) as file:
                for line in _lines(store, head):
                    file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    return exported


def _header(store: Store) -> dict[str, Any]:
    described = store.providers()
    providers: dict[str, dict[str, Any]] = {}
    num_answers = num_failures = 0
    for name, model, answers, failures in store.summary():
        if name not in providers:
            answering = described.get(name, Answering(name, None, {}))
            providers[name] = {**answering_to_json(answering), "models": []}
        providers[name]["models"].append(model)
        num_answers, num_failures = num_answers + answers, num_failures + failures
    return {
        "format": FORMAT,
        "version": VERSION,
        "answers": num_answers,
        "failures": num_failures,
        "providers": providers,
    }


def _lines(store: Store, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield head
    yield from map(row_to_json, store.rows())


@contextmanager
def _packed(raw: Any, path: str) -> Iterator[Any]:
    if not path.endswith(".gz"):
        yield raw
        return
    # Without a name and a time in it: the same calls, the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        yield file
