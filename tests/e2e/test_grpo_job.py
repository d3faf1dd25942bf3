"""`grpo` through the door on the session's cluster: from a file of problems to checkpoints."""

import json
from pathlib import Path

import pytest
from doors import Ran, job

PROBLEMS = [
    {"prompt": f"Would you say that plan number {n} is good?", "answer": "e"} for n in range(8)
]


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Ran:
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "problems.jsonl").write_text("\n".join(map(json.dumps, PROBLEMS)))
    return job(folder, *arguments(folder))


def arguments(folder: Path) -> list[str]:
    return [
        *("grpo", "task=prompts", f"data={folder}/problems.jsonl", "checker=regex", "run_id=good"),
        *("eval_share=0.25", "eval_samples=2", "steps=2", "save_every=1", "show_every=2"),
        *("problems_per_batch=3", "group_size=4", "max_tokens=4", "learning_rate=1e-3"),
    ]


def test_it_keeps_checkpoints_rollouts_metrics_and_a_curve(rewarded: Ran):
    assert rewarded.code == 0, rewarded.printed
    run = rewarded.storage / "runs/good"
    assert sorted(path.name for path in run.glob("checkpoints/*")) == ["step-000001", "step-000002"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert "start_reward" in rows[0]
    assert "eval_pass@2" in rows[1]
    for row in rows:
        kept = (run / f"rollouts/step-{row['step']:06d}.jsonl").read_text().splitlines()
        rollouts = [json.loads(line) for line in kept]
        assert len(rollouts) == 12
        assert {rollout["version"] for rollout in rollouts} == {row["step"]}
        assert sum(rollout["reward"] for rollout in rollouts) / 12 == pytest.approx(row["reward"])
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "task" in (run / "checkpoints/step-000002/README.md").read_text()


def test_it_shows_answers_measurements_and_the_next_command(rewarded: Ran):
    assert "Would you say that plan number" in rewarded.printed
    assert "Before step 1: held out: reward" in rewarded.printed
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
