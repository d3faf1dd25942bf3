"""kill -9 of the driver in the middle of `sft`; the same command then ends with the same bits."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_base import write_small_base

from actors.lm.base import load_tokenizer
from actors.train.checkpoint import saved_checkpoints
from actors.train.data import make_datums, parse_conversations
from actors.train.sft_process import run_sft, share_threads
from configs.sft import SftConfig

FIELDS = {
    "run_id": "killed",
    "data_file": "data.jsonl",
    "epochs": 100,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "save_every": 10,
}
STARTUP_S = 120


def command(base: str, storage: Path) -> list[str]:
    fields = FIELDS | {"base_model": base, "storage": storage}
    return [sys.executable, "-m", "jobs", "sft", *(f"{k}={v}" for k, v in fields.items())]


def write_data(folder: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Q" * i}, {"role": "assistant", "content": "A"}]}
        for i in range(1, 9)
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.timeout(300)
def test_a_killed_driver_continues_with_the_same_bits(tmp_path: Path):
    base = write_small_base(tmp_path / "base")
    write_data(tmp_path)
    run = tmp_path / "runs" / "killed"
    first = subprocess.Popen(
        command(base, tmp_path), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + STARTUP_S
    while len(list(run.glob("checkpoints/step-*/adapter_config.json"))) < 2:
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert first.poll() is None, "the job ended before it could be killed"
        time.sleep(0.02)
    os.kill(first.pid, 9)
    first.wait()
    again = subprocess.run(
        command(base, tmp_path), cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr[-2000:]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 201))

    config = SftConfig.model_validate(FIELDS | {"base_model": base})
    data = (tmp_path / "data.jsonl").read_bytes()
    datums = make_datums(load_tokenizer(base), parse_conversations("data.jsonl", data), 2048)
    threads = torch.get_num_threads()
    share_threads(1)
    run_sft(
        config,
        datums,
        run_id="killed",
        folder=str(tmp_path / "whole"),
        device=torch.device("cpu"),
        on_step=lambda metrics: None,
        on_saved=lambda path, metrics: None,
    )
    torch.set_num_threads(threads)
    expected = [c.digest for c in saved_checkpoints(str(tmp_path / "whole"))]
    assert [c.digest for c in saved_checkpoints(str(run))] == expected
