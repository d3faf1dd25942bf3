"""Checkpoints of a run: which count, which stay, and a disk that is full."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_training import remote_checkpoint, some_step

from actors.lm.adapter import TENSORS
from actors.train.card import CARD
from actors.train.checkpoint import (
    REMOTE,
    Cursor,
    checkpoint_path,
    latest_checkpoint,
    prune,
    saved_checkpoints,
    write_cursor,
)
from actors.train.datum import Datum
from actors.train.metrics import StepMetrics, validation_losses
from configs.errors import JobFailed
from configs.sft import SftConfig

Train = Callable[..., list[StepMetrics]]
Config = Callable[..., SftConfig]


def steps_of(folder: str) -> list[int]:
    return [checkpoint.step for checkpoint in saved_checkpoints(folder)]


@given(st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 4))
def test_the_newest_stay_and_the_best_validation_always_does(
    tmp_path_factory: pytest.TempPathFactory, losses: list[int | None], keep_last: int
):
    folder = str(tmp_path_factory.mktemp("run"))
    history: list[StepMetrics] = []
    for step, loss in enumerate(losses, start=1):
        history.append(some_step(step, validation_loss=loss))
        remote_checkpoint(folder, history, version=step)
        prune(folder, keep_last, step, validation_losses(history))
    measured = [loss for loss in losses if loss is not None]
    best = {losses.index(min(measured)) + 1} if measured else set()
    newest = range(1, len(losses) + 1)[-keep_last:]
    assert steps_of(folder) == (sorted({*newest, *best}) if keep_last else list(newest))


def test_what_a_kill_left_of_a_removed_checkpoint_goes_and_a_younger_one_stays(tmp_path: Path):
    history = [some_step(step) for step in range(1, 5)]
    for step in (1, 2, 3):
        remote_checkpoint(str(tmp_path), history[:step], version=step)
    Path(checkpoint_path(str(tmp_path), 1), REMOTE).unlink()
    being_written = Path(checkpoint_path(str(tmp_path), 4))
    write_cursor(str(being_written), Cursor(history, "data"))
    prune(str(tmp_path), keep_last=2, newest=3, losses={})
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000002", "step-000003", "step-000004"]


def test_a_damaged_checkpoint_of_an_earlier_try_costs_no_good_one(
    sft_config: Config, train_here: Train, tmp_path: Path
):
    config = sft_config(save_every=1)
    train_here(config, tmp_path)
    shutil.rmtree(checkpoint_path(str(tmp_path), 5))
    Path(checkpoint_path(str(tmp_path), 6), TENSORS).write_bytes(b"lost with the power")

    def cut(metrics: StepMetrics) -> None:
        if metrics.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_here(config.model_copy(update={"keep_last": 1}), tmp_path, on_step=cut)
    assert latest_checkpoint(str(tmp_path)) == checkpoint_path(str(tmp_path), 5)


def test_a_checkpoint_that_a_service_keeps_counts_without_an_adapter(tmp_path: Path):
    folder = str(tmp_path)
    path = remote_checkpoint(folder, [some_step(1), some_step(2)], version=1)
    assert latest_checkpoint(folder) == path
    Path(path, REMOTE).write_text('{"stat')
    assert latest_checkpoint(folder) is None


def test_keep_last_changes_no_bit_and_no_version(
    sft_config: Config, train_here: Train, tmp_path: Path
):
    config = sft_config()
    train_here(config, tmp_path / "all")
    train_here(config.model_copy(update={"keep_last": 2}), tmp_path / "two")
    everything, two = (saved_checkpoints(str(tmp_path / name)) for name in ("all", "two"))
    assert [(c.step, c.version, c.digest) for c in two] == [
        (c.step, c.version, c.digest) for c in everything[-2:]
    ]
    assert len(list((tmp_path / "two" / "checkpoints").iterdir())) == 2


@pytest.mark.parametrize(
    "name", ["trainer/cursor.json", "trainer/optimizer.safetensors", CARD, TENSORS]
)
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    sft_config: Config, train_here: Train, datums: list[Datum], tmp_path: Path, name: str
):
    config = sft_config(epochs=1)
    train_here(config, tmp_path / "whole")
    full = tmp_path / "full" / "checkpoints" / "step-000003" / name
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    with pytest.raises(JobFailed, match=r"step-000003 cannot be written: No space left on device"):
        train_here(config, tmp_path / "full")
    assert steps_of(str(tmp_path / "full")) == [2]
    full.unlink()
    train_here(config, tmp_path / "full")
    assert saved_checkpoints(str(tmp_path / "full"))[-1].digest == (
        saved_checkpoints(str(tmp_path / "whole"))[-1].digest
    )
