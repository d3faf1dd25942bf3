"""Runs on a real Ray Train: one and two workers agree, a killed worker changes nothing."""

import os
import signal
from pathlib import Path

import pytest
import torch

from actors.lm.adapter import read_adapter
from actors.train.checkpoint import saved_checkpoints
from actors.train.datum import Datum
from actors.train.metrics import StepMetrics
from actors.train.process import run_sft
from actors.train.run import train_sft
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
