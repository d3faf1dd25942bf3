"""Adapters by path: every file under the storage root, a plain file, and of a size."""

import os
import shutil
from pathlib import Path

import pytest

from actors.lm.adapter import CONFIG, MANIFEST, TENSORS
from actors.lm.refusals import RefusedAdapter
from serve.paths import AbsentAdapter, read_within

FILES = (CONFIG, TENSORS, MANIFEST)


@pytest.fixture
def root(adapter_paths: dict[str, str], tmp_path: Path) -> Path:
    shutil.copytree(adapter_paths["one@1"], tmp_path / "root/one")
    return tmp_path / "root"


def _refusal(root: Path, max_bytes: int = 10**6) -> str:
    with pytest.raises(RefusedAdapter) as told:
        read_within("one", str(root), max_bytes)
    assert str(root) not in str(told.value)
    return str(told.value)


def test_links_within_the_root_are_followed(root: Path) -> None:
    (root / "one" / TENSORS).rename(root / "tensors")
    (root / "one" / TENSORS).symlink_to(root / "tensors")
    assert read_within("one", str(root), 10**6).tensors


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_links_out_of_the_root(root: Path, tmp_path: Path, file: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"{}")
    (root / "one" / file).unlink(missing_ok=True)
    (root / "one" / file).symlink_to(outside)
    assert "storage root only" in _refusal(root)


@pytest.mark.parametrize("file", FILES)
def test_what_is_no_file(root: Path, file: str) -> None:
    (root / "one" / file).unlink(missing_ok=True)
    os.mkfifo(root / "one" / file)
    assert f"{file} is not a file" in _refusal(root)
    (root / "one" / file).unlink()
    (root / "one" / file).mkdir()
    assert f"{file} is not a file" in _refusal(root)


@pytest.mark.parametrize("file", [CONFIG, MANIFEST])
def test_a_config_or_manifest_that_is_too_large(root: Path, file: str) -> None:
    (root / "one" / file).write_bytes(b" " * 1_000_001)
    assert f"1,000,001 bytes of {file}; this server takes 1,000,000" in _refusal(root)


def test_tensors_that_are_too_large(root: Path) -> None:
    assert f"bytes of {TENSORS}; this server takes 100" in _refusal(root, 100)


def test_a_path_is_told_as_it_was_given(root: Path) -> None:
    (root / "one" / CONFIG).write_text("{")
    assert _refusal(root).startswith("one: damaged adapter directory")
    with pytest.raises(AbsentAdapter, match="two: no such folder"):
        read_within("two", str(root), 10**6)
