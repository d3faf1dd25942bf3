"""Building the tiny model: repeatable, once per user, whole or not at all."""

import hashlib
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from actors.lm.base import load_tokenizer
from actors.lm.chat import prompt_ids, render
from actors.lm.messages import Conversation, assistant, user
from actors.lm.tiny import cache
from actors.lm.tiny.recipe import Recipe

SHORT = Recipe(dialogues=300, vocabulary=600, hidden=32, layers=1, intermediate=64, steps=12,
               warmup_steps=2)  # fmt: skip


def file_digests(directory: str | Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(directory).iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return cache.tiny_directory(SHORT)


def test_building_twice_gives_the_same_bytes_and_leaves_torch_as_it_was(
    built: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        again = cache.tiny_directory(SHORT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    assert file_digests(again) == file_digests(built)


def test_another_seed_gives_other_weights(built: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = cache.tiny_directory(Recipe(**{**SHORT.__dict__, "seed": 1}))
    name = "model.safetensors"
    assert file_digests(other)[name] != file_digests(built)[name]


def test_it_loads_as_any_transformers_model(built: str):
    model = AutoModelForCausalLM.from_pretrained(built)
    tokenizer = load_tokenizer(built)
    assert model.config.model_type == "llama"
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings >= 1024
    assert model.config.eos_token_id == tokenizer.eos_token_id
    ids = torch.tensor([prompt_ids(tokenizer, [user("Hello! " * 200)])])
    logits = model(input_ids=ids).logits
    assert logits.shape == (1, ids.shape[1], len(tokenizer))
    assert torch.isfinite(logits).all()


def test_the_full_size_is_within_four_million_parameters(tmp_path: Path):
    from actors.lm.tiny.build import build

    build(Recipe(dialogues=300, steps=3, warmup_steps=1), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 4_000_000


def test_the_tokenizer_renders_turns_and_masks(built: str):
    tokenizer = load_tokenizer(built)
    conversation: Conversation = [
        {"role": "system", "content": "Be brief."},
        *(user("Hi"), assistant("Hello."), user("Ça va? 🙂"), assistant("Yes.")),
    ]
    rendered = render(tokenizer, conversation)
    learned = [t for t, yes in zip(rendered.token_ids, rendered.is_target, strict=True) if yes]
    assert tokenizer.decode(learned) == "Hello.<|end|>Yes.<|end|>"
    assert tokenizer.decode(rendered.token_ids).count("<|user|>") == 2
    prompt = prompt_ids(tokenizer, conversation[:-1])
    assert rendered.token_ids[: len(prompt)] == prompt
    assert str(tokenizer.decode(prompt)).endswith("🙂<|end|><|assistant|>")


def _build_in(folder: str, barrier) -> None:
    import os

    os.environ["XDG_CACHE_HOME"] = folder
    barrier.wait()
    cache.tiny_directory(SHORT)


def test_two_processes_at_once_build_it_once(tmp_path: Path, capfd: pytest.CaptureFixture):
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    both = [spawn.Process(target=_build_in, args=(str(tmp_path), barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert capfd.readouterr().err.count("Building tiny-") == 1
    left = {path.name for path in (tmp_path / "hothouse").iterdir()}
    assert left == {SHORT.name, f"{SHORT.name}.lock"}


def test_a_build_that_breaks_leaves_nothing_and_clears_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = Recipe(**{**SHORT.__dict__, "warmup_steps": 0})
    (tmp_path / "hothouse" / f".{broken.name}-killed" / "inner").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError):
        cache.tiny_directory(broken)
    assert [path.suffix for path in (tmp_path / "hothouse").iterdir()] == [".lock"]


def test_naming_it_imports_no_torch():
    code = "import sys, actors.lm.tiny as t; t.tiny_name(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
