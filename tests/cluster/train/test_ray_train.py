"""Runs on a real Ray Train: one and two workers agree, a killed worker changes nothing."""

import contextlib
import time
from pathlib import Path

import psutil
import pytest
import ray
import torch
from small_training import train_in_process, undisturbed

from actors.lm.adapter import read_adapter
from actors.train.checkpoint import saved_checkpoints
from actors.train.datum import Datum
from actors.train.on_ray.feed import start_feed
from actors.train.metrics import StepMetrics
from actors.train.on_ray.trainer import on_gpus, train_sft, worker
from configs.errors import UserError
from configs.sft import SftConfig

RESTART_S = 60


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
    alone = train_in_process(sft_config, datums, tmp_path / "one")
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
    workers = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended since
            if "RayTrainWorker" in " ".join(process.cmdline()):
                workers.append(process)
    return workers


def test_a_killed_worker_changes_no_bit(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    config = sft_config.model_copy(update={"epochs": 40, "save_every": 20})
    seen: list[int] = []
    killed: list[int] = []
    replaced: list[int] = []

    def on_step(metrics: StepMetrics) -> None:
        seen.append(metrics.step)
        if killed:
            return
        for process in train_workers():
            process.kill()
            killed.append(process.pid)
        deadline = time.monotonic() + RESTART_S
        while not replaced and time.monotonic() < deadline:
            replaced.extend(p.pid for p in train_workers() if p.pid not in killed)
            time.sleep(0.02)

    folder = str(tmp_path / "killed")
    saved = train_sft(config, datums, run_id="run", folder=folder, on_step=on_step)
    assert killed
    assert replaced
    assert seen == list(range(1, 121))
    assert [c.digest for c in saved] == [
        c.digest for c in undisturbed(config, datums, tmp_path / "whole")
    ]


def test_an_input_error_in_a_worker_is_the_drivers_error(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    with pytest.raises(UserError, match=r"Step \d+: the loss is"):
        train(
            *(sft_config, datums, tmp_path),
            **{"learning_rate": 1e30, "max_grad_norm": 0.0, "warmup_steps": 0, "max_failures": 0},
        )


def test_a_worker_does_not_try_again_after_an_input_error(ray_cluster: None):
    feed = start_feed()
    ray.get(feed.give_up.remote("The rate is too high."))
    worker({"feed": feed})  # nothing else is looked at
    assert ray.get(feed.fault.remote()) == "The rate is too high."


def test_workers_take_a_gpu_each_where_there_are_any():
    assert on_gpus(2, gpus=2)
    assert not on_gpus(2, gpus=0)
    with pytest.raises(UserError, match="num_workers=3, but the cluster has 2 GPUs"):
        on_gpus(3, gpus=2)


def test_unknown_targets_are_told_before_a_worker_starts(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    lora = sft_config.lora.model_copy(update={"targets": ["q_prj"]})
    with pytest.raises(UserError, match="q_prj"):
        train(sft_config, datums, tmp_path, lora=lora)
