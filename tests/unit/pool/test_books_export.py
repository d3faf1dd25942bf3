"""Exports: what is written is read, and what is no whole export is refused with its line."""

import gzip
import json
from pathlib import Path

import pytest
from doors import job

from actors.pool.books.entries import Answering
from actors.pool.books.export import export_calls
from actors.pool.books.imports import Calls, read_calls, take_calls
from actors.pool.books.journal import open_books
from actors.pool.books.store import Row, Store
from actors.pool.provider import open_provider
from configs.errors import UserError

OFFLINE = Answering("offline", "rules", {})
ROUTER = Answering("openrouter", "m/x", {"provider": {"require_parameters": True}})
ROWS = [
    Row("aa", "offline", "rules", b'{"model":"rules"}', '{"text":"nä"}'.encode(), 1.5),
    Row("bb", "offline", "other", None, b'{"text":"\\ud800"}', 2.5),
]


def filled(path: Path | str, *rows: Row, providers: tuple[Answering, ...] = (OFFLINE,)) -> Store:
    store = Store(path)
    for answering in providers:
        store.introduce(answering)
    for row in rows:
        store.put(row)
    return store


def exported(tmp_path: Path, name: str = "calls.jsonl.gz", *rows: Row) -> Path:
    path = tmp_path / name
    export_calls(filled(":memory:", *(rows or ROWS)), str(path))
    return path


@pytest.mark.parametrize("name", ["calls.jsonl", "calls.jsonl.gz", "new/folder/calls.jsonl.gz"])
def test_what_is_exported_is_read(tmp_path: Path, name: str):
    path = exported(tmp_path, name)
    calls = read_calls(name, path.read_bytes())
    copy = Store(":memory:")
    take_calls(copy, calls)
    assert copy.providers() == calls.providers == {"offline": OFFLINE}
    found = list(copy.rows())
    assert [row[:3] for row in found] == [row[:3] for row in ROWS]
    assert [json.loads(row.answer or b"") for row in found] == [
        json.loads(row.answer or b"") for row in ROWS
    ]
    assert export_calls(copy, str(tmp_path / "again.gz")) == (2, 0, ["offline"])


def test_the_same_calls_give_the_same_bytes(tmp_path: Path):
    one = exported(tmp_path, "1.gz", *ROWS).read_bytes()
    assert exported(tmp_path, "2.gz", *reversed(ROWS)).read_bytes() == one
    head, first, _ = map(json.loads, gzip.decompress(one).splitlines())
    assert head["answers"] == 2
    assert head["providers"]["offline"]["models"] == ["other", "rules"]
    assert first["request"] == {"model": "rules"}


def test_failures_are_exported_and_an_answer_outweighs_them(tmp_path: Path):
    failed = [
        Row("aa", "offline", "rules", None, None, 9.0, b'{"kind":"invalid"}'),
        Row("cc", "offline", "rules", None, None, 9.0, b'{"kind":"rejected"}'),
    ]
    path = tmp_path / "calls.gz"
    assert export_calls(filled(":memory:", *failed), str(path)) == (0, 2, ["offline"])
    copy = filled(":memory:", *ROWS)
    take_calls(copy, read_calls("calls.gz", path.read_bytes()))
    found = {row.key: (row.answer is None, row.failure) for row in copy.rows()}
    assert found["aa"] == (False, None)
    assert found["cc"] == (True, b'{"kind":"rejected"}')
    assert export_calls(copy, str(tmp_path / "2.gz")) == (2, 1, ["offline"])


def test_an_answer_that_is_stored_stays():
    store = filled(":memory:", ROWS[0]._replace(answer=b'"mine"'))
    take_calls(store, Calls({"offline": OFFLINE}, ROWS))
    assert store.answers(["aa"]) == {"aa": b'"mine"'}


def test_nothing_is_overwritten_and_an_empty_study_is_told(tmp_path: Path):
    path = exported(tmp_path)
    with pytest.raises(UserError, match="is there already"):
        export_calls(filled(":memory:", *ROWS), str(path))
    with pytest.raises(UserError, match="No calls are stored"):
        export_calls(Store(":memory:"), str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [], "line 1"),
        (lambda lines: [b"hello"], "line 1"),
        (lambda lines: [b"[1]"], "no file of calls"),
        (lambda lines: [lines[0].replace(b'"version": 1', b'"version": 9')], "version 9"),
        (lambda lines: lines[:2], "line 2: the file ends here, after 1 of 2 calls"),
        (lambda lines: [*lines[:2], lines[2][:-9]], "line 3"),
        (lambda lines: [*lines[:2], b'{"key": "x"}'], "line 3: no stored call"),
        (lambda lines: [*lines[:2], b"17"], "line 3: no stored call"),
    ],
)
def test_a_damaged_file_is_refused_whole(tmp_path: Path, spoil, message: str):
    lines = exported(tmp_path, "calls.jsonl").read_bytes().splitlines()
    path = tmp_path / "spoilt.jsonl"
    path.write_bytes(b"\n".join(spoil(lines)))
    with pytest.raises(UserError, match=message), open_provider(f"replay:{path}", str(tmp_path)):
        pass
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_gzip_file_that_is_cut_short_is_refused(tmp_path: Path, cut: int):
    data = exported(tmp_path).read_bytes()
    with pytest.raises(UserError, match="cut off in line"):
        read_calls("calls.gz", data[:-cut])
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_calls("calls.gz", data[:20] + b"\xff\xff\xff" + data[23:])


def test_the_job_writes_the_file_and_says_how_to_replay_it(tmp_path: Path):
    store, _ = open_books(str(tmp_path / "study"))
    store.introduce(OFFLINE)
    store.put(ROWS[0])
    store.close()
    out = tmp_path / "calls.jsonl.gz"
    ran = job(tmp_path / "study", "export_calls", f"out={out}")
    assert ran.code == 0
    assert f"provider=replay:{out}" in ran.printed
    empty = job(tmp_path / "empty", "export_calls", f"out={out}.2")
    assert empty.code == 2
    assert "no calls are stored" in empty.printed
    assert not (tmp_path / "empty").exists()
    again = job(tmp_path / "study", "export_calls", f"out={out}")
    assert again.code == 2
    assert "is there already" in again.printed


def test_a_replay_has_the_name_of_who_answered(tmp_path: Path):
    path, root = tmp_path / "calls.jsonl.gz", str(tmp_path / "new")
    row = ROWS[0]._replace(provider="openrouter")
    export_calls(filled(":memory:", row, providers=(ROUTER,)), str(path))
    with open_provider(f"replay:{path}", root) as provider:
        assert (provider.name, provider.default_model) == ("openrouter", "m/x")
        assert provider.schema_options == ROUTER.schema_options
        assert provider.replay_only
        assert str(path) in provider.note
    with open_provider("replay", root) as provider:  # it is in the books now
        assert provider.name == "openrouter"


def test_of_several_providers_one_has_to_be_named(tmp_path: Path):
    url = Answering("http://127.0.0.1:8000/v1", None, {})
    filled(tmp_path / "pool" / "calls.sqlite", *ROWS, providers=(OFFLINE, url)).close()
    with open_provider(f"replay#{url.name}", str(tmp_path)) as provider:
        assert provider.name == url.name
    for name, message in [
        ("replay", r"several providers .*replay#http://127.0.0.1:8000/v1"),
        ("replay#ofline", 'Did you mean "offline"'),
        ("replay:absent.gz", "absent.gz: no such file"),
        ("replya", 'Did you mean "replay"'),
    ]:
        with pytest.raises(UserError, match=message), open_provider(name, str(tmp_path)):
            pass
    with (
        pytest.raises(UserError, match="no calls are stored"),
        open_provider("replay", str(tmp_path / "empty")),
    ):
        pass
