"""What a person sees of a training run."""

from pathlib import Path

import numpy as np
import pytest
from small_training import some_step

from actors.store.run import Run
from actors.store.storage import Storage
from actors.train.checkpoint import (
    Cursor,
    SavedCheckpoint,
    checkpoint_path,
    write_cursor,
)
from actors.train.data.load import TrainingData
from actors.train.data.report import Contamination, DataReport
from actors.train.datum import Datum
from actors.train.metrics import StepMetrics
from configs.sft import DataSource, SftConfig
from jobs.training.sft import data_label
from jobs.training.sft_view import report, say_plan, step_note


@pytest.mark.parametrize(
    ("steps_per_s", "left"),
    [(0.5, "20 s left"), (0.05, "3 min left"), (0.001, "2.8 h left"), (0.0, None)],
)
def test_the_time_left_follows_the_pace_where_it_is_known(steps_per_s: float, left: str | None):
    note = step_note(some_step(2, loss=1.5), total_steps=12, steps_per_s=steps_per_s)
    assert note == ", ".join(["loss 1.500, 100 tokens/s", *([left] if left else [])])


def test_a_validation_stands_beside_the_loss_and_the_last_step_has_no_time_left():
    note = step_note(some_step(12, loss=1.5, validation_loss=2.25), 12, steps_per_s=3.0)
    assert note == "loss 1.500, validation 2.250, 100 tokens/s"


@pytest.mark.parametrize(("done", "said"), [(0, "."), (2, "; goes on after step 2.")])
def test_the_plan_says_where_a_run_that_was_begun_goes_on(
    capsys: pytest.CaptureFixture[str], done: int, said: str
):
    report = DataReport((), None, 4, 0, 4, 4, Contamination(0))
    datum = Datum(np.array([1]), np.array([2]))
    data = TrainingData([datum] * 4, [], [], report, "id")
    say_plan("r", SftConfig(data_file="d", batch_size=1, epochs=1), data, done)
    assert capsys.readouterr().out.splitlines()[-1] == f"r: 4 steps, 1 checkpoint{said}"


def reported(folder: Path, losses: list[float | None], **fields: object) -> None:
    history: list[StepMetrics] = []
    saved: list[SavedCheckpoint] = []
    run = Run(Storage(str(folder)), "r", {}, lock=None)
    for step, loss in enumerate(losses, start=1):
        history.append(some_step(step, validation_loss=loss))
        path = checkpoint_path(run.storage.path(run.folder), step)
        write_cursor(path, Cursor(history, "data"))
        saved.append(SavedCheckpoint(path, step, step, f"path:{step:064d}", 2.0, loss))
    config = {"data_file": "d", "validation_share": 0.1, "storage": "here"} | fields
    report(SftConfig.model_validate(config), run, saved)


def test_the_report_ends_with_the_command_for_what_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    reported(tmp_path, [None, None])
    printed = capsys.readouterr().out
    assert "validation" not in printed
    assert "path:000000000000" in printed
    paths = "runs/r/checkpoints/step-000001, runs/r/checkpoints/step-000002"
    assert f"'checkpoint_paths=[{paths}]' storage=here" in printed


def test_the_report_says_why_a_run_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    reported(tmp_path, [2.5, 2.0, 2.25, 3.0], patience=2)
    printed = capsys.readouterr().out
    assert "validation" in printed
    said = "Stopped after step 4: the last 2 validations were no better than 2.000 after step 2."
    assert said in " ".join(printed.split())


def test_a_run_is_named_after_its_files():
    files = ["datasets/generate-honest-0a1b2c3d.examples.yaml", "s3://bucket/more.jsonl"]
    assert data_label([DataSource(file=file) for file in files]) == "honest-more"
