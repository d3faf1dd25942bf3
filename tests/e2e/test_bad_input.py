"""Bad input through the door: one clear message, exit code 2, nothing half-written."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from doors import Ran, job

from actors.lm.adapter import MANIFEST


def nothing_written(storage: Path) -> bool:
    """Beside what names the run, which a corrected command replaces, and books without entries."""
    names = {path.name for path in storage.rglob("*") if path.is_file()}
    books = storage / "pool/calls.sqlite"
    if books.exists():
        with closing(sqlite3.connect(books)) as db:
            if db.execute("SELECT count(*) FROM calls").fetchone() != (0,):
                return False
    allowed = {"run.yaml", ".lock", books.name, f"{books.name}-wal", f"{books.name}-shm"}
    return names <= allowed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("examples: []\n", "holds no rows"),
        ("examples: [{prompt: a}]\n", "text"),
        ("examples: [\n", "not valid YAML"),
    ],
)
def test_a_broken_examples_file(tmp_path: Path, content: str, message: str):
    path = tmp_path / "x.examples.yaml"
    path.write_text(content)
    ran = job(tmp_path / "out", "sft", f"examples_file={path}")
    assert ran.code == 2
    assert message in ran.printed
    assert "x.examples.yaml" in ran.printed
    assert nothing_written(tmp_path / "out")


def test_a_malformed_row_is_told_with_file_and_line(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "a"},
                                    {"role": "assistant", "content": "b"}]})  # fmt: skip
    path.write_text(f"{good}\n{good[:20]}\n")
    ran = job(tmp_path / "out", "sft", f"data_file={path}")
    assert ran.code == 2
    assert "rows.jsonl:2" in ran.printed


def test_a_checkpoint_of_another_base(tmp_path: Path, checkpoints: list[str], prompts: Ran):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for file in Path(checkpoints[0]).iterdir():
        if file.is_file() and file.name != MANIFEST:
            (foreign / file.name).write_bytes(file.read_bytes())
    config = json.loads((foreign / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "somebody/other-model"
    (foreign / "adapter_config.json").write_text(json.dumps(config))
    eval_file = prompts.path("evals/prompts.eval.yaml")
    ran = job(
        tmp_path / "out",
        *("eval", f"eval_file={eval_file}", f'checkpoint_paths=["{foreign}"]', "provider=offline"),
    )
    assert ran.code == 2
    assert "somebody/other-model" in ran.printed
    assert "foreign" in ran.printed
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["provider=openrouter"], "OPENROUTER_API_KEY"),
        (["provider=http://127.0.0.1:9/v1", "model=m", "pool.max_attempts=1"], "127.0.0.1:9"),
        (["provider=http://127.0.0.1:9/v1"], "give model="),
        (["provider=opnrouter"], 'Did you mean "openrouter"?'),
    ],
)
def test_a_provider_that_cannot_answer(tmp_path: Path, monkeypatch, arguments, message):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    ran = job(tmp_path, "generate", "property=honest", *arguments)
    assert ran.code == 2
    assert message in ran.printed
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("base_model", ["no/such-model", "."])
def test_a_base_that_cannot_be_loaded(tmp_path: Path, monkeypatch, base_model, prompts: Ran):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    eval_file = prompts.path("evals/prompts.eval.yaml")
    ran = job(tmp_path, "eval", f"eval_file={eval_file}", f"base_model={base_model}")
    assert ran.code == 2
    assert base_model in ran.printed
    assert nothing_written(tmp_path)
