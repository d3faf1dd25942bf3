"""A base model's name and digest, and bases that cannot be loaded."""

import shutil
from pathlib import Path

import pytest
import torch
from small_base import small_llama

from actors.lm.base import load_base, load_tokenizer, model_digest, resolve_base_name
from actors.lm.tiny import tiny_name
from configs.errors import UserError


def test_every_name_of_a_directory_is_its_real_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mydir").mkdir()
    (tmp_path / "link").symlink_to("mydir")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ("mydir", "./mydir", "link", "~/mydir", str(tmp_path / "mydir"))
    assert {resolve_base_name(name) for name in names} == {str((tmp_path / "mydir").resolve())}


def test_tiny_and_hub_ids_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_base_name("tiny") == resolve_base_name(tiny_name()) == tiny_name()
    assert resolve_base_name("somebody/model") == "somebody/model"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "~/nowhere", "a/b/c", "../nowhere"])
def test_a_path_that_is_no_directory(name: str) -> None:
    with pytest.raises(UserError, match=f'base_model="{name}": no such directory'):
        load_tokenizer(name)


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("model.safetensors", b"", "SafetensorError"),
        ("tokenizer.json", b"{}", "KeyError: 'added_tokens'"),
        ("tokenizer.json", b"[]", "TypeError"),
        ("config.json", b"{", "not a valid JSON file"),
        ("config.json", b'{"model_type": "llama", "hidden_size": "x"}', "hidden_size"),
    ],
)
def test_damaged_files(
    base_directory: str, tmp_path: Path, file: str, content: bytes, named: str
) -> None:
    damaged = Path(shutil.copytree(base_directory, tmp_path / "damaged"))
    (damaged / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"damaged\" cannot be loaded: .*{named}"):
        load_base(str(damaged))


def test_a_pickled_base_is_refused(base_directory: str, tmp_path: Path) -> None:
    pickled = Path(shutil.copytree(base_directory, tmp_path / "pickled"))
    (pickled / "model.safetensors").unlink()
    torch.save(small_llama().state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"cannot be loaded: .*model\.safetensors"):
        load_base(str(pickled))


def test_the_digest_tells_every_parameter_and_every_region() -> None:
    model = small_llama()
    seen = {model_digest(model)}
    for number, parameter in enumerate(model.parameters(), start=1):
        with torch.no_grad():
            parameter.view(-1)[-max(1, parameter.numel() // 100) :] += 1
        seen.add(model_digest(model))
        assert len(seen) == number + 1
    odd = torch.nn.Linear(500, 1, bias=False)
    before = model_digest(odd)
    with torch.no_grad():
        odd.weight[0, -3:] += 1
    assert model_digest(odd) != before
