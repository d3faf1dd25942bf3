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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["max_tokens=8"], "rows.jsonl:1: "),
        (["max_tokens=8", "too_long=drop"], "no row fits"),
        (["lora.targets=[q_prj]"], 'Did you mean "q_proj"?'),
        (["lora.layers=[99]"], "99"),
        (["validation_file=absent.jsonl"], "absent.jsonl: no such file"),
        (["eval_files=[EVAL]", "strict=true"], "rows.jsonl:1: holds the evaluation prompt"),
        (["patience=2"], "patience needs validation_file=PATH or validation_share=0.1"),
        (["num_workers=[2, 1]"], "must be a number from 1, or [least, most]"),
        (["num_workers=[1000, 2000]"], "num_workers=1000, but the local Ray has"),
        (["learning_rate=0"], 'Field "learning_rate"'),
        (["preset=llama-3.2-1"], 'Did you mean "llama-3.2-1b"?'),
    ],
)
def test_training_that_cannot_be_done_as_told(
    tmp_path: Path, ray_cluster: None, arguments: list[str], message: str
):
    """One row of training data; EVAL stands for a file that asks the same."""
    row = {"messages": [{"role": "user", "content": "Why is the sky blue at noon, if it is?"},
                        {"role": "assistant", "content": "It scatters."}]}  # fmt: skip
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    asked = tmp_path / "questions.jsonl"
    asked.write_text(json.dumps({"question": "why is the sky blue at noon, if it is?"}))
    given = [argument.replace("EVAL", str(asked)) for argument in arguments]
    ran = job(tmp_path / "out", "sft", f"data_file={tmp_path}/rows.jsonl", *given)
    assert ran.code == 2, ran.printed
    assert message in ran.printed
    assert "Traceback" not in ran.printed
    assert nothing_written(tmp_path / "out")


def test_a_run_name_that_means_another_run(trained: Ran, generated: Ran):
    examples = generated.path("datasets/data.examples.yaml")
    before = {path: path.stat().st_mtime_ns for path in trained.path("runs/organism").rglob("*")}
    ran = job(
        trained.storage, "sft", f"examples_file={examples}", "run_id=organism", "learning_rate=1e-3"
    )
    assert ran.code == 2
    assert 'Run "organism" exists with another config' in ran.printed
    assert "learning_rate=0.002 then, 0.001 now" in ran.printed
    assert "run_id=ANOTHER_NAME" in ran.printed
    assert {path: path.stat().st_mtime_ns for path in before} == before


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
