"""A merged model says what base and adapter say together, and needs no peft for it."""

import resource
import tempfile
from pathlib import Path

import peft
import pytest
import torch
from doors import job
from small_adapters import ALL_LINEAR, write_small_adapter
from small_base import CHATML
from transformers import AutoModelForCausalLM

from actors.lm.adapter import CONFIG, read_adapter
from actors.lm.base import load_base, load_tokenizer
from actors.train.on_torch.merge import merged
from configs.errors import UserError

IDS = torch.arange(3, 43).reshape(2, 20)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_merged_logits_are_the_adapters(small_base: str, tmp_path: Path):
    path = write_small_adapter(tmp_path / "adapter", small_base, seed=1, use_rslora=True)
    ran = job(tmp_path, "merge", f"adapter={path}", f"out={tmp_path / 'whole'}")
    assert ran.code == 0, ran.printed
    base = AutoModelForCausalLM.from_pretrained(small_base)
    expected = logits(peft.PeftModel.from_pretrained(base, path))
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(logits(whole), expected, atol=2e-4, rtol=2e-4)
    assert load_tokenizer(str(tmp_path / "whole")).chat_template == CHATML
    card = (tmp_path / "whole/README.md").read_text()
    assert "This is a model organism" in card
    assert read_adapter(path).digest in card
    assert not list(tmp_path.glob(".whole*"))
    assert len({file.stat().st_mode for file in (tmp_path / "whole").iterdir()}) == 1


def test_what_is_there_stays(small_base: str, tmp_path: Path):
    path = write_small_adapter(tmp_path / "adapter", small_base, seed=1)
    ran = job(tmp_path, "merge", f"adapter={path}", f"out={path}")
    assert (ran.code, "is there already" in ran.printed) == (2, True)


@pytest.mark.parametrize(("room", "where"), [(64 * 1024, "whole"), (64, "")])
def test_a_disk_without_room_is_told_and_leaves_nothing(
    small_base: str, tmp_path: Path, room: int, where: str
):
    path = write_small_adapter(tmp_path / "adapter", small_base, seed=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The model has more than the first, the adapter's copy more than the second.
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        ran = job(tmp_path, "merge", f"adapter={path}", f"out={tmp_path / 'whole'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.code == 1
    out = tmp_path / where if where else tempfile.gettempdir()
    assert f"merge: {out}" in ran.printed
    assert " cannot be written: " in ran.printed
    assert "Make room there" in ran.printed
    assert not [*tmp_path.glob("whole"), *tmp_path.glob(".whole*")]


def test_another_type_of_weights(small_base: str, tmp_path: Path):
    path = write_small_adapter(tmp_path / "adapter", small_base, seed=1)
    out = tmp_path / "whole"
    assert job(tmp_path, "merge", f"adapter={path}", f"out={out}", "dtype=bfloat16").code == 0
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_modules": [*ALL_LINEAR, "lm_head"]}, "also its embedding"),
        ({"r": 3}, "does not fit"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(
    small_base: str, tmp_path: Path, options: dict, message: str
):
    path = tmp_path / "adapter"
    write_small_adapter(path, small_base, seed=1, **options)
    if "r" in options:  # its config says another rank than its tensors have
        text = (path / CONFIG).read_text()
        (path / CONFIG).write_text(text.replace('"r": 3', '"r": 5'))
    with pytest.raises(UserError, match=message):
        merged(load_base(small_base), str(path), read_adapter(str(path)), torch.float32)


def test_tensors_that_no_module_takes_are_refused(small_base: str, tmp_path: Path):
    path = tmp_path / "adapter"
    write_small_adapter(path, small_base, seed=1)
    text = (path / CONFIG).read_text()
    (path / CONFIG).write_text(text.replace('"up_proj"', '"k_proj"'))
    with pytest.raises(UserError, match=r"tensors have no counterpart, the first is .*up_proj"):
        merged(load_base(small_base), str(path), read_adapter(str(path)), torch.float32)
