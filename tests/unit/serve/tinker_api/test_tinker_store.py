"""Checkpoints and runs under a storage root: whole or absent, for as long as they are to stay."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from actors.lm.adapter import Manifest, write_adapter
from serve.openai.errors import Refused
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import MOST_TTL_S, Checkpoint, Run
from serve.tinker_api.paths import CheckpointPath, checkpoint_folder, run_id
from serve.tinker_api.runs import Runs
from serve.tinker_api.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run(run_id("a" * 32, 0), "base", 4, 0, True, True, START.isoformat())
ENTRY = Checkpoint("base", 4, True, True, START.isoformat())
PATH = CheckpointPath(RUN.id, "weights", "a")


def _write(store: Store, path: CheckpointPath = PATH, ttl_s: int | None = None) -> None:
    _fill(store.begin(path, ENTRY, ttl_s))


def _fill(folder: str) -> None:
    tensors = {"base_model.model.x.lora_A.weight": torch.ones(4, 2)}
    write_adapter(folder, {"r": 4}, tensors, Manifest("a", 1, 7, "a", "base", "digest"))


def test_checkpoints_in_the_store(tmp_path: Path) -> None:
    now, root = START, str(tmp_path)
    runs, store = Runs(root), Store(root, lambda: now)
    assert (runs.all(), store.checkpoints(RUN.id)) == ([], {})
    runs.add(RUN)
    assert runs.all() == [RUN]
    assert runs.read(RUN.id) == RUN

    folder = store.begin(PATH, replace(ENTRY, user_metadata={"k": "v"}), 60)
    with pytest.raises(Refused, match="no checkpoint"):
        store.read(PATH)  # a kill could come here
    _fill(folder)
    found = store.read(PATH)
    assert found.user_metadata == {"k": "v"}
    assert found.size_bytes > 32
    with pytest.raises(Failed, match="never overwritten"):
        store.begin(PATH, ENTRY, None)
    now += timedelta(seconds=59)
    assert list(store.checkpoints(RUN.id)) == [PATH]
    size, pieces = store.file(PATH, "manifest.json")
    assert size == len(b"".join(pieces))
    with pytest.raises(Refused, match="has no file"):
        store.file(PATH, "run.json")
    now += timedelta(seconds=1)
    assert store.checkpoints(RUN.id) == {}
    with pytest.raises(Refused, match="no checkpoint"):
        store.read(PATH)
    _write(store)
    store.delete(PATH)
    assert store.checkpoints(RUN.id) == {}


def test_what_is_over_is_removed_unless_it_was_saved_anew(tmp_path: Path) -> None:
    now = START
    store = Store(str(tmp_path), lambda: now)
    other = CheckpointPath(RUN.id, "external_weights", "b")
    for path in (PATH, other):
        _write(store, path, ttl_s=60)
    _write(store, CheckpointPath(RUN.id, "weights", "stays"))
    assert store.expired() == []
    now += timedelta(seconds=60)
    assert set(store.expired()) == {PATH, other}
    assert (tmp_path / checkpoint_folder(PATH)).exists()
    _write(store, other)
    for path in (PATH, other):
        store.expire(path)
    assert not (tmp_path / checkpoint_folder(PATH)).exists()
    assert store.read(other).expires is None
    assert store.expired() == []


@pytest.mark.parametrize("ttl_s", [0, -5, MOST_TTL_S + 1, 10**15])
def test_a_time_that_no_checkpoint_can_stay(tmp_path: Path, ttl_s: int) -> None:
    with pytest.raises(Failed, match=f"ttl_seconds={ttl_s} must lie in 1") as caught:
        _write(Store(str(tmp_path)), ttl_s=ttl_s)
    assert caught.value.category == "user"


def test_what_vanishes_while_it_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = Store(str(tmp_path)), CheckpointPath(RUN.id, "weights", "b")
    for path in (PATH, other):
        _write(store, path)
    listed = store._sizes

    def then_deleted(folder: str) -> dict[str, int]:
        sizes = listed(folder)
        Store(str(tmp_path)).delete(PATH)
        return sizes

    monkeypatch.setattr(store, "_sizes", then_deleted)
    assert list(store.checkpoints()) == [other]


def test_a_list_takes_one_look_and_a_read_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an object store each is a request of some 30 ms."""
    store, asked = Store("memory://hothouse-listing"), []
    for name in "abc":
        _write(store, CheckpointPath(RUN.id, "weights", name))
    fs = fsspec.filesystem("memory")
    for method in ("find", "cat_file", "exists", "size"):
        monkeypatch.setattr(fs, method, _noted(asked, method, getattr(fs, method)))
    assert {path.name for path in store.checkpoints()} == {"a", "b", "c"}
    assert asked == ["find", *["cat_file"] * 3]


def _noted(asked: list[str], name: str, method: Any) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        asked.append(name)
        return method(*arguments, **options)

    return call
