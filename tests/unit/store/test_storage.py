"""Files appear whole, once, on a disk and on an object store."""

import uuid
from pathlib import Path

import pytest

from actors.store.inputs import read_input
from actors.store.storage import Storage
from configs.errors import UserError


@pytest.fixture(params=["disk", "memory"])
def storage(request, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4().hex}")


def test_what_is_written_is_read(storage: Storage):
    storage.write_new("a/b.txt", b"text")
    assert storage.read("a/b.txt") == b"text"
    assert storage.exists("a/b.txt")
    assert storage.names("a") == ["b.txt"]
    assert storage.names("absent") == []


def test_nothing_is_overwritten(storage: Storage):
    storage.write_new("a.txt", b"first")
    with pytest.raises(FileExistsError):
        storage.write_new("a.txt", b"second")
    assert storage.read("a.txt") == b"first"


def test_what_is_written_again_replaces_it(storage: Storage):
    for text in (b"first", b"second"):
        storage.write("a/b.txt", text)
        assert storage.read("a/b.txt") == text
    assert storage.names("a") == ["b.txt"]


def test_no_temporary_file_stays(tmp_path: Path):
    storage = Storage(str(tmp_path))
    storage.write_new("a.txt", b"1")
    with pytest.raises(FileExistsError):
        storage.write_new("a.txt", b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_unknown_protocol_is_the_users_error():
    with pytest.raises(UserError, match="nosuch"):
        Storage("nosuch://bucket/x")


def test_inputs_are_found_as_given_or_under_the_root(storage: Storage, tmp_path: Path):
    storage.write_new("datasets/x.yaml", b"stored")
    assert read_input("datasets/x.yaml", storage) == b"stored"
    elsewhere = tmp_path / "y.yaml"
    elsewhere.write_bytes(b"local")
    assert read_input(str(elsewhere), storage) == b"local"
    with pytest.raises(UserError, match="no such file"):
        read_input("datasets/absent.yaml", storage)
