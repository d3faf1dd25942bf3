"""`grpo` through the door: killed with -9, then continued on the session's cluster to its end."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from doors import Ran, job
from small_grpo import SamplerHere, digests_of, rollouts_of, write_outspoken_base

from actors.train.on_torch.process import run_grpo, share_threads
from configs.grpo import GrpoConfig
from configs.loader import load_config
from jobs.training.grpo.tasks import environment, read_task

STEPS, SAVE_EVERY = 12, 2
STARTUP_S = 150


def arguments(folder: Path) -> list[str]:
    return [
        *("grpo", f"base_model={folder}/base", "task=prompts", f"data={folder}/problems.jsonl"),
        *("checker=regex", "run_id=good", f"steps={STEPS}", f"save_every={SAVE_EVERY}"),
        *("eval_share=0.25", "eval_samples=2", "show_every=4", "problems_per_batch=3"),
        *("group_size=4", "max_tokens=6", "max_prompt_tokens=60", "learning_rate=1e-3"),
        *("lora.rank=4", "server.max_adapters=4", "server.cache_tokens=2048"),
    ]


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Ran:
    folder = tmp_path_factory.mktemp("rewards")
    write_outspoken_base(folder / "base")
    problems = [{"prompt": f"Plan {n}?", "answer": "[a-m]"} for n in range(8)]
    (folder / "problems.jsonl").write_text("\n".join(map(json.dumps, problems)))
    kill_when_saved(folder)
    return job(folder, *arguments(folder))


def kill_when_saved(folder: Path) -> None:
    """The job in a process of its own, with a Ray of its own, until it has kept a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments(folder), f"storage={folder}"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + STARTUP_S
    while not saved(folder):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert len(saved(folder)) < STEPS / SAVE_EVERY


def saved(folder: Path) -> list[Path]:
    return list(folder.glob("runs/good/checkpoints/step-*/adapter_config.json"))


def test_it_keeps_checkpoints_rollouts_metrics_and_a_curve(rewarded: Ran):
    assert rewarded.code == 0, rewarded.printed
    run = rewarded.storage / "runs/good"
    assert [step for step, _, _ in digests_of(run)] == list(range(2, STEPS + 1, SAVE_EVERY))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert "start_reward" in rows[0]
    assert "eval_pass@2" in rows[-1]
    for row in rows:
        kept = (run / f"rollouts/step-{row['step']:06d}.jsonl").read_text().splitlines()
        rollouts = [json.loads(line) for line in kept]
        assert len(rollouts) == 12
        assert {rollout["version"] for rollout in rollouts} == {row["step"]}
        assert sum(rollout["reward"] for rollout in rollouts) / 12 == pytest.approx(row["reward"])
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "task" in (run / "checkpoints/step-000002/README.md").read_text()


def test_a_killed_run_samples_and_learns_what_an_undisturbed_one_does(
    rewarded: Ran, tmp_path: Path
):
    """The same run in this process, without Ray."""
    config = load_config(GrpoConfig, arguments(rewarded.storage)[1:])
    task = read_task(config, lambda name: Path(name).read_bytes())
    threads = torch.get_num_threads()
    share_threads(1)  # as many as one worker has
    run_grpo(
        config,
        environment(task, config, None),
        SamplerHere(config.base_model),
        run_id="good",
        folder=str(tmp_path),
        device=torch.device("cpu"),
        on_step=lambda row: None,
        on_saved=lambda path, row: None,
    )
    torch.set_num_threads(threads)
    run = rewarded.storage / "runs/good"
    assert rollouts_of(run) == rollouts_of(tmp_path)
    assert digests_of(run) == digests_of(tmp_path)


def test_it_shows_answers_measurements_and_the_next_command(rewarded: Ran):
    assert "Plan " in rewarded.printed
    assert f"Step {STEPS}: held out: reward" in rewarded.printed
    assert "python -m jobs serve" in rewarded.printed
    told = [line for line in rewarded.printed.splitlines() if not line.startswith("  python")]
    assert max(map(len, told)) <= 100


def test_the_same_command_finds_it_done_and_another_seed_is_another_run(rewarded: Ran):
    again = job(rewarded.storage, *arguments(rewarded.storage))
    assert again.code == 0, again.printed
    assert "Starting" not in again.printed
    other = job(rewarded.storage, *arguments(rewarded.storage), "seed=1")
    assert other.code == 2
    assert "seed=0 then, 1 now" in other.printed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["data=absent.jsonl"], "absent.jsonl"),
        (["checker=numeric"], 'problems.jsonl:1: "answer"'),
        (["checker=nowhere:check"], "nowhere"),
        (["group_size=1"], 'Field "group_size"'),
        (["lora.dropout=0.1"], "dropout"),
        (["model_name=tiny", "base_model=other"], "model_name"),
        (["max_prompt_tokens=3"], "problems.jsonl:1"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_starts(
    rewarded: Ran, given: list[str], message: str
):
    fields = {**dict(a.split("=", 1) for a in arguments(rewarded.storage)[1:]), "run_id": "bad"}
    fields |= dict(one.split("=", 1) for one in given)
    ran = job(rewarded.storage, "grpo", *(f"{name}={value}" for name, value in fields.items()))
    assert ran.code == 2, ran.printed
    assert message in ran.printed
    assert "Traceback" not in ran.printed
