"""Adapter directories that are damaged or were changed are the user's error."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from actors.lm.adapter import (
    CONFIG,
    MANIFEST,
    TENSORS,
    Manifest,
    adapter_digest,
    read_adapter,
    write_adapter,
)
from configs.errors import UserError


@pytest.fixture
def folder(adapter_paths: dict[str, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter_paths["plain"], tmp_path / "adapter"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xff\xfe", "damaged"),
        (b"{", "damaged"),
        (b"[]", "not a JSON object"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_a_config_that_is_none(folder: Path, content: bytes, named: str) -> None:
    (folder / CONFIG).write_bytes(content)
    with pytest.raises(UserError, match=f"{folder}.*{named}"):
        read_adapter(str(folder))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r", None),
        ("r", 0),
        ("r", 8.0),
        ("lora_alpha", "16"),
        ("lora_alpha", float("nan")),
        ("lora_alpha", 10**400),
        ("alpha_pattern", {"q_proj": 10**400}),
        ("rank_pattern", {"(a+)+$[": 3}),
        ("rank_pattern", {"(([a-z_.]|[a-z0-9_.])+)+!": 3}),
        ("rank_pattern", {"q" * 129: 3}),
        ("rank_pattern", {f"layers.{i}": 3 for i in range(1025)}),
        ("rank_pattern", {"q_proj": "2"}),
        ("alpha_pattern", [1]),
        ("target_modules", ["q_proj", 1]),
        ("target_modules", {"q_proj": 1}),
        ("base_model_name_or_path", 5),
        ("base_model_name_or_path", "\ud800"),
    ],
)
def test_a_field_that_cannot_be_used(folder: Path, field: str, value: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {field: value}))
    with pytest.raises(UserError, match=f"{CONFIG}: {field}"):
        read_adapter(str(folder))


@pytest.mark.parametrize("field", ["r", "lora_alpha"])
def test_a_field_that_is_missing(folder: Path, field: str) -> None:
    config = json.loads((folder / CONFIG).read_text())
    del config[field]
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"{CONFIG}: {field}=None"):
        read_adapter(str(folder))


def test_a_manifest_that_is_nested_too_deeply(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"[" * 200_000)
    with pytest.raises(UserError, match="nested too deeply"):
        read_adapter(str(folder))


def test_tensors_that_are_a_folder(folder: Path) -> None:
    (folder / TENSORS).unlink()
    (folder / TENSORS).mkdir()
    with pytest.raises(UserError, match=f"{folder}: cannot be read: Is a directory"):
        read_adapter(str(folder))


def test_tensors_changed_after_training_are_refused(folder: Path) -> None:
    found = read_adapter(str(folder))
    manifest = Manifest("honest", 1, 10, "run", "base", found.digest)
    write_adapter(str(folder), found.config, found.tensors, manifest)
    assert read_adapter(str(folder)).manifest == manifest
    first, *_ = found.tensors
    changed = {**found.tensors, first: torch.nextafter(found.tensors[first], torch.tensor(9.0))}
    save_file(changed, folder / TENSORS)
    with pytest.raises(UserError, match="do not match its manifest's digest"):
        read_adapter(str(folder))


def test_a_sent_adapter_is_the_same_whatever_its_tensors(folder: Path) -> None:
    found = read_adapter(str(folder))
    odd = {
        "half": torch.randn(3, 5).bfloat16(),
        "turned": torch.randn(3, 5).T,
        "none": torch.zeros(0, 4),
        "one": torch.tensor(2.5),
    }
    sent = replace(found, tensors={**found.tensors, **odd})
    arrived = pickle.loads(pickle.dumps(sent))
    assert (arrived.config, arrived.manifest) == (sent.config, sent.manifest)
    for name, tensor in sent.tensors.items():
        assert arrived.tensors[name].dtype == tensor.dtype
        assert torch.equal(arrived.tensors[name], tensor)
        arrived.tensors[name].zero_()  # its own
    assert sent.tensors["one"] == 2.5


def test_a_sent_adapter_has_the_digest_of_what_arrived(folder: Path) -> None:
    sent = read_adapter(str(folder))
    assert sent.digest == adapter_digest(sent.config, sent.tensors)
    arrived = pickle.loads(pickle.dumps(sent))
    next(iter(arrived.tensors.values())).add_(1)
    assert arrived.digest == adapter_digest(arrived.config, arrived.tensors) != sent.digest
