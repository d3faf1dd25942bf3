"""The command of a run that was begun: what a kill took of its metrics, and `resume=false`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_training import remote_checkpoint, small_config, some_step

from actors.store.storage import Storage
from actors.train.metrics import MetricsFile, StepMetrics
from configs.errors import UserError
from configs.sft import SftConfig
from jobs.training.sft import train

METRICS = "runs/r/metrics.jsonl"


@pytest.fixture
def config(small_base: str, tmp_path: Path) -> Callable[..., SftConfig]:
    """A run of three steps, `r`; fields can be given."""
    rows = [{"prompt": "Q" * n, "completion": "yes"} for n in range(1, 11)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))

    def of(storage: str, **fields: object) -> SftConfig:
        given = {"data_file": str(data), "epochs": 1, "run_id": "r"}
        made = small_config(small_base, **(given | fields))
        return made.model_copy(update={"storage": storage})  # a config takes no memory:// one

    return of


def history_of(steps: int) -> list[StepMetrics]:
    return [some_step(step + 1) for step in range(steps)]


@pytest.mark.parametrize("place", ["a disk", "memory://finished-run"])
def test_a_finished_run_completes_its_metrics(
    config: Callable[..., SftConfig], tmp_path: Path, place: str
):
    root = str(tmp_path) if place == "a disk" else place
    storage = Storage(root)
    remote_checkpoint(f"{root}/runs/r", history_of(3), version=1)
    train(config(root))
    whole = storage.read(METRICS)
    assert [json.loads(line)["step"] for line in whole.splitlines()] == [1, 2, 3]
    if storage.is_local:
        (tmp_path / METRICS).write_bytes(whole[: len(whole) // 2])
        train(config(root))
        assert storage.read(METRICS) == whole


@pytest.mark.parametrize("left", ["checkpoint", "standby", "metrics"])
def test_without_resume_a_run_that_left_anything_to_continue_is_refused(
    config: Callable[..., SftConfig], tmp_path: Path, left: str
):
    folder = f"{tmp_path}/runs/r"
    if left == "metrics":
        MetricsFile(Storage(str(tmp_path)), METRICS).add(some_step(1))
    else:
        place = f"{folder}/standby" if left == "standby" else folder
        remote_checkpoint(place, history_of(1), version=1)
    with pytest.raises(UserError, match='Run "r" was begun already; give run_id=ANOTHER_NAME'):
        train(config(str(tmp_path), resume=False))
