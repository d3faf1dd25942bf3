"""The calls of a study as one file: a header, then a stored answer a line, gzipped by its suffix.

The file is read whole or refused: its header says how many answers follow.
"""

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import fsspec

from actors.pool.books.entries import Answering
from actors.pool.books.rows import (
    answering_from_json,
    answering_to_json,
    row_from_json,
    row_to_json,
)
from actors.pool.books.store import Row, Store
from configs.errors import UserError

_FORMAT, _VERSION = "hothouse-calls", 1


class Exported(NamedTuple):
    """What a file of calls holds."""

    num_answers: int
    providers: list[str]


class Calls(NamedTuple):
    """What was read from such a file."""

    providers: dict[str, Answering]  # by name
    rows: list[Row]


def export_calls(store: Store, path: str) -> Exported:
    """Write all answers of `store` to a new file (a path or an fsspec URL)."""
    fs, plain = fsspec.core.url_to_fs(os.path.expanduser(path))
    if fs.exists(plain):
        raise UserError(f"{path} is there already, and nothing is overwritten: give another out=.")
    rows = list(store.rows())
    if not rows:
        raise UserError("No calls are stored under this storage=: there is nothing to export.")
    data = "".join(json.dumps(line) + "\n" for line in _lines(store, rows)).encode()
    if path.endswith(".gz"):
        data = gzip.compress(data, mtime=0)  # the same calls, the same bytes
    try:
        fs.makedirs(os.path.dirname(plain) or ".", exist_ok=True)
        with fs.transaction:  # the file appears whole
            fs.pipe_file(plain, data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    return Exported(len(rows), sorted({row.provider for row in rows}))


def _lines(store: Store, rows: list[Row]) -> Iterator[dict[str, Any]]:
    described = store.providers()
    models: dict[str, set[str]] = {}
    for row in rows:
        models.setdefault(row.provider, set()).add(row.model)
    providers = {
        name: {
            **answering_to_json(described.get(name, Answering(name, None, {}))),
            "models": sorted(found),
        }
        for name, found in sorted(models.items())
    }
    yield {"format": _FORMAT, "version": _VERSION, "answers": len(rows), "providers": providers}
    yield from map(row_to_json, rows)


def read_calls(path: str, data: bytes) -> Calls:
    """What a file holds whose bytes are `data`; `path` names it in errors.

    Raises:
        UserError: the file is no export, or not all of one.
    """
    lines = _text_lines(path, data)
    num_answers, providers = _header(path, lines[0])
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(row_from_json(json.loads(line)))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}. Export it again.") from None
    if len(rows) != num_answers:
        raise UserError(
            f"{path}, line {len(lines)}: the file ends here, after {len(rows)} of "
            f"{num_answers} answers. Export the calls again."
        )
    return Calls(providers, rows)


def take_calls(store: Store, calls: Calls) -> None:
    """Put calls into `store`, where it has no answer for their keys."""
    with store.writing():
        for answering in calls.providers.values():
            store.introduce(answering)
        for row in calls.rows:
            store.put(row)


def _text_lines(path: str, data: bytes) -> list[bytes]:
    if data[:2] != b"\x1f\x8b":
        return data.splitlines() or [b""]
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    text, broken = b"", ""
    try:
        text = unpacker.decompress(data)
    except zlib.error as error:
        broken = f"cannot be unpacked ({error})"
    if not broken and not unpacker.eof:
        broken = f"the gzip file is cut off in line {len(text.splitlines())}"
    if broken:
        raise UserError(f"{path}: {broken}. Copy or export it again.")
    return text.splitlines() or [b""]


def _header(path: str, line: bytes) -> tuple[int, dict[str, Answering]]:
    try:
        head = json.loads(line)
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise ValueError("this is no file of calls")
        if head.get("version") != _VERSION:
            raise ValueError(f"version {head.get('version')} is not known here")
        providers = {n: answering_from_json(n, f) for n, f in dict(head["providers"]).items()}
        num_answers = int(head["answers"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}, line 1: {error}. Give a file that `python -m jobs export_calls` wrote."
        ) from None
    return num_answers, providers
