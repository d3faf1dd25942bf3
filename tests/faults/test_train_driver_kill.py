"""ctrl-C, then kill -9 of the driver in the middle of `sft`; it still ends with the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from doors import job
from small_base import write_small_base
from small_training import undisturbed

from actors.lm.base import load_tokenizer
from actors.train.checkpoint import saved_checkpoints
from actors.train.data.load import load_training_data
from configs.sft import SftConfig

FIELDS = {
    "run_id": "killed",
    "data_file": "data.jsonl",
    "epochs": 8,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "save_every": 10,
}
STARTUP_S = 120


def arguments(base: str) -> list[str]:
    return ["sft", f"base_model={base}", *(f"{k}={v}" for k, v in FIELDS.items())]


def write_data(folder: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Q" * i}, {"role": "assistant", "content": "A"}]}
        for n in range(160)
        for i in [1 + n % 8]
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))


def start_until_saved(base: str, storage: Path, more: int) -> subprocess.Popen[str]:
    """The job in a process of its own, once it has kept `more` checkpoints."""
    kept = len(saved(storage))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments(base), f"storage={storage}"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # ctrl-C reaches all of a terminal's group, and no other's
    )
    deadline = time.monotonic() + STARTUP_S
    while len(saved(storage)) < kept + more:
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)
    return process


def saved(storage: Path) -> list[Path]:
    return list(storage.glob("runs/killed/checkpoints/step-*/adapter_config.json"))


@pytest.mark.timeout(300)
def test_an_interrupted_and_killed_run_ends_with_the_same_bits(ray_cluster: None, tmp_path: Path):
    base = write_small_base(tmp_path / "base")
    write_data(tmp_path)

    first = start_until_saved(base, tmp_path, more=2)
    rays_own = psutil.Process(first.pid).children(recursive=True)
    os.killpg(first.pid, signal.SIGINT)
    printed, _ = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Stopped." in printed
    assert "Traceback" not in printed
    _, left = psutil.wait_procs(rays_own, timeout=30)
    assert not left

    second = start_until_saved(base, tmp_path, more=2)
    second.kill()
    second.communicate()

    last = job(tmp_path, *arguments(base))
    assert last.code == 0, last.printed
    lines = last.path("runs/killed/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 321))
    config = SftConfig.model_validate(FIELDS | {"base_model": base})
    data = (tmp_path / "data.jsonl").read_bytes()
    datums = load_training_data(config, load_tokenizer(base), lambda name: data).train
    expected = undisturbed(config, datums, tmp_path / "whole")
    got = saved_checkpoints(str(tmp_path / "runs/killed"))
    assert [c.digest for c in got] == [c.digest for c in expected]
