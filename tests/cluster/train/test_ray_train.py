"""Runs on a real Ray Train: one and two workers agree, a killed worker changes nothing."""

from pathlib import Path

import psutil
import pytest
import torch

from actors.lm.adapter import read_adapter
from actors.train.checkpoint import SavedCheckpoint, saved_checkpoints
from actors.train.datum import Datum
from actors.train.metrics import StepMetrics
from actors.train.ray_sft import train_sft
from actors.train.sft_process import run_sft, share_threads
from configs.errors import UserError
from configs.sft import SftConfig


def train(
    config: SftConfig, datums: list[Datum], folder: Path, **fields: object
) -> list[StepMetrics]:
    steps: list[StepMetrics] = []
    config = config.model_copy(update=fields)
    train_sft(config, datums, run_id="run", folder=str(folder), on_step=steps.append)
    return steps


def test_two_workers_agree_with_one_process(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    alone: list[StepMetrics] = []
    run_sft(
        sft_config,
        datums,
        run_id="run",
        folder=str(tmp_path / "one"),
        device=torch.device("cpu"),
        on_step=alone.append,
        on_saved=lambda path, metrics: None,
    )
    together = train(sft_config, datums, tmp_path / "two", num_workers=2)
    assert [m.step for m in together] == [1, 2, 3, 4, 5, 6]
    assert [m.loss for m in together] == pytest.approx([m.loss for m in alone], abs=1e-5)
    assert [m.grad_norm for m in together] == pytest.approx([m.grad_norm for m in alone], rel=1e-4)
    one, two = (
        read_adapter(saved_checkpoints(str(tmp_path / name))[-1].path) for name in ("one", "two")
    )
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], tensor, rtol=1e-3, atol=1e-4)
    files = sorted(p.name for p in (tmp_path / "two" / "checkpoints").iterdir())
    assert files == ["step-000002", "step-000003", "step-000004", "step-000006"]


def train_workers() -> list[psutil.Process]:
    """The training processes of this session's Ray."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline())
    ]


def test_a_killed_worker_changes_no_bit(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    config = sft_config.model_copy(update={"epochs": 40, "save_every": 20})
    seen: list[int] = []
    killed: list[int] = []

    def on_step(metrics: StepMetrics) -> None:
        seen.append(metrics.step)
        if not killed:
            for process in train_workers():
                process.kill()
                killed.append(process.pid)

    folder = str(tmp_path / "killed")
    saved = train_sft(config, datums, run_id="run", folder=folder, on_step=on_step)
    assert killed
    assert seen == list(range(1, 121))
    assert [c.digest for c in saved] == [
        c.digest for c in undisturbed(config, datums, tmp_path / "whole")
    ]


def undisturbed(config: SftConfig, datums: list[Datum], folder: Path) -> list[SavedCheckpoint]:
    """The same run in this process, with as many threads as a worker has."""
    threads = torch.get_num_threads()
    share_threads(1)
    run_sft(
        config,
        datums,
        run_id="run",
        folder=str(folder),
        device=torch.device("cpu"),
        on_step=lambda metrics: None,
        on_saved=lambda path, metrics: None,
    )
    torch.set_num_threads(threads)
    return saved_checkpoints(str(folder))


def test_an_input_error_in_a_worker_is_the_drivers_error(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    with pytest.raises(UserError, match=r"Step \d+: the loss is"):
        train(sft_config, datums, tmp_path, learning_rate=1e30, max_grad_norm=0.0, warmup_steps=0)


def test_unknown_targets_are_told_before_a_worker_starts(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    lora = sft_config.lora.model_copy(update={"targets": ["q_prj"]})
    with pytest.raises(UserError, match="q_prj"):
        train(sft_config, datums, tmp_path, lora=lora)
