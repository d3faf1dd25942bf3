"""Read a file of calls that `export_calls` wrote: checked to its last line before any is taken."""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from actors.pool.books.entries import Answering
from actors.pool.books.export import FORMAT, VERSION
from actors.pool.books.rows import answering_from_json, row_from_json
from actors.pool.books.store import Row, Store
from configs.errors import UserError


class Calls(NamedTuple):
    """What such a file holds."""

    providers: dict[str, Answering]  # by name
    rows: Iterable[Row]


def read_calls(path: str, data: bytes) -> Calls:
    """What a file holds whose bytes are `data`; `path` names it in errors.

    Raises:
        UserError: the file is no export, or not all of one.
    """
    num_calls, providers = _header(path, next(_text_lines(path, data), b""))
    rows = _Rows(path, data)
    found = sum(1 for _ in rows)
    if found != num_calls:
        raise UserError(
            f"{path}, line {found + 1}: the file ends here, after {found} of "
            f"{num_calls} calls. Export the calls again."
        )
    return Calls(providers, rows)


def take_calls(store: Store, calls: Calls) -> None:
    """Put calls into `store`, where it has no answer for their keys."""
    with store.writing():
        for answering in calls.providers.values():
            store.introduce(answering)
        for row in calls.rows:
            store.put(row)


class _Rows:
    """The calls of a file, unpacked and read anew each time: they need not fit into memory."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path, self._data = path, data

    def __iter__(self) -> Iterator[Row]:
        lines = _text_lines(self._path, self._data)
        next(lines)
        for number, line in enumerate(lines, 2):
            try:
                row = row_from_json(json.loads(line))
            except ValueError as error:
                message = f"{self._path}, line {number}: {error}. Export it again."
                raise UserError(message) from None
            yield row


def _text_lines(path: str, data: bytes) -> Iterator[bytes]:
    file: Any = io.BytesIO(data)
    if data[:2] == b"\x1f\x8b":
        file = gzip.GzipFile(fileobj=file)
    number = 1
    try:
        for line in file:
            yield line
            number += 1
    except EOFError:
        broken = f"the gzip file is cut off in line {number}"
    except (zlib.error, gzip.BadGzipFile) as error:
        broken = f"cannot be unpacked ({error})"
    else:
        return
    raise UserError(f"{path}: {broken}. Copy or export it again.")


def _header(path: str, line: bytes) -> tuple[int, dict[str, Answering]]:
    try:
        head = json.loads(line)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise ValueError("this is no file of calls")
        if head.get("version") != VERSION:
            raise ValueError(f"version {head.get('version')} is not known here")
        providers = {n: answering_from_json(n, f) for n, f in dict(head["providers"]).items()}
        num_calls = int(head["answers"]) + int(head["failures"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}, line 1: {error}. Give a file that `python -m jobs export_calls` wrote."
        ) from None
    return num_calls, providers
