"""Workers that are killed or hang, in a real Ray Train: training goes on, and no bit changes."""

import logging
from collections.abc import Callable
from pathlib import Path

import planted_faults
import pytest
import ray.cloudpickle
from small_training import undisturbed

from actors.train.datum import Datum
from actors.train.on_ray import trainer
from actors.train.on_ray.worker import Assignment
from actors.train.sft_loop import SftData
from configs.sft import SftConfig

Work = Callable[[Assignment], None]

# Ray's workers cannot import what only the tests' path has.
ray.cloudpickle.register_pickle_by_value(planted_faults)


def digests_with(
    work: Work, config: SftConfig, datums: list[Datum], folder: Path, patch: pytest.MonkeyPatch
) -> list[str]:
    """The checkpoints' digests of a run whose workers have a fault; every step was seen once."""
    patch.setattr(trainer, "work", work)
    seen: list[int] = []
    saved = trainer.train_sft(
        config,
        SftData(datums),
        run_id="run",
        folder=str(folder),
        on_step=lambda metrics: seen.append(metrics.step),
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    return [checkpoint.digest for checkpoint in saved]


def whole(config: SftConfig, datums: list[Datum], folder: Path) -> list[str]:
    return [checkpoint.digest for checkpoint in undisturbed(config, datums, folder)]


def test_workers_killed_after_every_checkpoint_change_no_bit(
    ray_cluster: None,
    sft_config: SftConfig,
    datums: list[Datum],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    config = sft_config.model_copy(update={"max_failures": 4})
    fault = planted_faults.killed_after_every_save
    got = digests_with(fault, config, datums, tmp_path / "killed", monkeypatch)
    assert sorted(p.name for p in (tmp_path / "killed").glob("killed-*")) == [
        f"killed-{step}" for step in (2, 3, 4, 6)
    ]
    assert got == whole(config, datums, tmp_path / "whole")


def test_workers_that_hang_are_replaced(
    ray_cluster: None,
    sft_config: SftConfig,
    datums: list[Datum],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # A busy machine may take a slow start for another hang; a few more than two may come.
    config = sft_config.model_copy(update={"max_failures": 10, "hang_timeout_s": 4.0})
    fault = planted_faults.blocked_then_stopped
    with caplog.at_level(logging.WARNING):
        got = digests_with(fault, config, datums, tmp_path / "hung", monkeypatch)
    assert (tmp_path / "hung" / "blocked").exists()
    assert (tmp_path / "hung" / "stopped").exists()
    assert "Step 3 made no progress for 4 s (hang_timeout_s)" in caplog.text
    assert "planted_faults.py" in caplog.text
    assert got == whole(config, datums, tmp_path / "whole")
