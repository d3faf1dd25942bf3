"""Kill -9 of the driver in the middle of `grpo`; it still ends with the same bits."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from doors import job
from small_grpo import SamplerHere, digests_of, rollouts_of, write_outspoken_base

from actors.train.on_torch.process import run_grpo, share_threads
from configs.grpo import GrpoConfig
from jobs.training.grpo.tasks import environment, read_task

FIELDS = {
    "run_id": "killed",
    "task": "prompts",
    "data": "problems.jsonl",
    "checker": "regex",
    "steps": 16,
    "save_every": 2,
    "problems_per_batch": 3,
    "group_size": 4,
    "max_tokens": 6,
    "max_prompt_tokens": 60,
    "learning_rate": 1e-3,
    "lora.rank": 4,
    "server.max_adapters": 4,
    "server.cache_tokens": 2048,
}
STARTUP_S = 150


def arguments(base: str) -> list[str]:
    return ["grpo", f"base_model={base}", *(f"{k}={v}" for k, v in FIELDS.items())]


def start_until_saved(base: str, storage: Path, checkpoints: int) -> subprocess.Popen[str]:
    """The job in a process of its own, once it has kept so many."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments(base), f"storage={storage}"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + STARTUP_S
    while len(saved(storage)) < checkpoints:
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)
    return process


def saved(storage: Path) -> list[Path]:
    return list(storage.glob("runs/killed/checkpoints/step-*/adapter_config.json"))


def undisturbed(base: str, storage: Path, folder: Path) -> None:
    """The same run in this process, without Ray."""
    sections = {"lora": {"rank": 4}}
    fields = {name: value for name, value in FIELDS.items() if "." not in name}
    config = GrpoConfig.model_validate(fields | sections | {"base_model": base})
    task = read_task(config, lambda name: (storage / name).read_bytes())
    threads = torch.get_num_threads()
    share_threads(1)  # as many as one worker has
    run_grpo(
        config,
        environment(task, config, None),
        SamplerHere(base),
        run_id="killed",
        folder=str(folder),
        device=torch.device("cpu"),
        on_step=lambda row: None,
        on_saved=lambda path, row: None,
    )
    torch.set_num_threads(threads)


@pytest.mark.timeout(500)
def test_a_killed_run_samples_and_learns_the_same(ray_cluster: None, tmp_path: Path):
    base = write_outspoken_base(tmp_path / "base")
    problems = [{"prompt": f"Plan {n}?", "answer": "[a-m0-4]"} for n in range(7)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, problems)))

    first = start_until_saved(base, tmp_path, checkpoints=2)
    first.kill()
    first.communicate()
    assert len(saved(tmp_path)) < FIELDS["steps"] / FIELDS["save_every"]

    last = job(tmp_path, *arguments(base))
    assert last.code == 0, last.printed
    lines = last.path("runs/killed/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, FIELDS["steps"] + 1))
    undisturbed(base, tmp_path, tmp_path / "whole")
    assert rollouts_of(tmp_path / "runs/killed") == rollouts_of(tmp_path / "whole")
    assert digests_of(tmp_path / "runs/killed") == digests_of(tmp_path / "whole")
