"""Records survive a kill, and a key depends on nothing but its determinants."""

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.store.records import Records, record_key
from actors.store.storage import Storage


@pytest.fixture(params=["disk", "memory"])
def storage(request, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4().hex}")


def test_rows_are_there_after_the_process(storage: Storage):
    rows = Records(storage, "r")
    for i in range(70):
        rows.append(f"k{i}", value=i)
    rows.flush()
    again = Records(storage, "r")
    assert len(again) == 70
    assert again["k69"] == {"key": "k69", "value": 69}
    again.append("k70", value=70)
    again.flush()
    assert len(Records(storage, "r")) == 71


def test_on_a_disk_a_row_is_there_at_once(tmp_path: Path):
    storage = Storage(str(tmp_path))
    Records(storage, "r").append("k", value=1)
    assert "k" in Records(storage, "r")


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path):
    folder = tmp_path / "r"
    folder.mkdir()
    whole = json.dumps({"key": "a", "value": 1})
    (folder / "part.jsonl").write_text(whole + "\n" + whole[:9])
    rows = Records(Storage(str(tmp_path)), "r")
    assert len(rows) == 1


@given(st.text())
def test_any_text_comes_back(tmp_path_factory, text):
    root = str(tmp_path_factory.mktemp("t"))
    Records(Storage(root), "r").append("k", text=text)
    assert Records(Storage(root), "r")["k"]["text"] == text


def test_keys_do_not_depend_on_the_order_of_determinants():
    assert record_key(a=1, b={"x": 1, "y": 2}) == record_key(b={"y": 2, "x": 1}, a=1)
    assert record_key(a=1) != record_key(a=2)
