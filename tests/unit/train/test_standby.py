"""A state kept between two save points: a run goes on from it, and leaves nothing of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_training import train_in_process

from actors.train.checkpoint import checkpoint_path, saved_checkpoints
from actors.train.datum import Datum
from actors.train.metrics import StepMetrics
from actors.train.on_torch.process import run_sft
from actors.train.sft_loop import SftData
from actors.train.standby import latest_state, standby_path
from configs.errors import JobFailed
from configs.sft import SftConfig


class Gone(Exception):
    """Stands for the loss of the machine."""


def train_until_gone(
    config: SftConfig, datums: list[Datum], folder: Path, announced: int, gone: int
) -> None:
    """A machine that is announced to go after a step, and goes after a later one."""
    done: list[int] = []

    def on_step(metrics: StepMetrics) -> None:
        done.append(metrics.step)
        if done[-1] == gone:
            raise Gone

    run_sft(
        config,
        SftData(datums),
        run_id="run",
        folder=str(folder),
        device=torch.device("cpu"),
        on_step=on_step,
        on_saved=lambda path, metrics: None,
        leaving=lambda: done[-1] == announced,
    )


@pytest.mark.parametrize(("announced", "gone"), [(1, 2), (5, 6)])
def test_a_run_goes_on_from_the_step_at_which_a_notice_came(
    sft_config: Callable[..., SftConfig],
    datums: list[Datum],
    tmp_path: Path,
    announced: int,
    gone: int,
):
    config, folder = sft_config(), tmp_path / "run"
    with pytest.raises(Gone):
        train_until_gone(config, datums, folder, announced, gone)
    assert latest_state(str(folder)) == standby_path(str(folder), announced)
    steps = train_in_process(config, datums, folder)
    assert [m.step for m in steps] == [1, 2, 3, 4, 5, 6]
    train_in_process(config, datums, tmp_path / "whole")
    assert [(c.step, c.version, c.digest) for c in saved_checkpoints(str(folder))] == [
        (c.step, c.version, c.digest) for c in saved_checkpoints(str(tmp_path / "whole"))
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints"]


def test_a_later_checkpoint_makes_it_needless(
    sft_config: Callable[..., SftConfig], datums: list[Datum], tmp_path: Path
):
    with pytest.raises(Gone):
        train_until_gone(sft_config(), datums, tmp_path, announced=1, gone=3)
    assert latest_state(str(tmp_path)) == checkpoint_path(str(tmp_path), 2)


def test_a_notice_at_a_save_point_does_not_cost_its_checkpoint(
    sft_config: Callable[..., SftConfig], datums: list[Datum], tmp_path: Path
):
    cursor = tmp_path / "checkpoints" / "step-000002" / "trainer" / "cursor.json"
    cursor.parent.mkdir(parents=True)
    cursor.symlink_to("/dev/full")
    with pytest.raises(JobFailed):
        train_until_gone(sft_config(), datums, tmp_path, announced=2, gone=3)
    cursor.unlink()
    train_in_process(sft_config(), datums, tmp_path)
    assert [c.step for c in saved_checkpoints(str(tmp_path))] == [2, 3, 4, 6]
