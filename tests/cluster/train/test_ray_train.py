"""Runs on a real Ray Train: any number of workers agree, errors reach the driver as they are."""

import time
import urllib.request
from pathlib import Path

import pytest
import ray
import torch
from small_training import Trained, some_step, train_in_process

from actors.lm.adapter import read_adapter
from actors.train.checkpoint import saved_checkpoints
from actors.train.datum import Datum
from actors.train.metrics import StepMetrics
from actors.train.on_ray.feed import start_feed
from actors.train.on_ray.gauges import show_step
from actors.train.on_ray.trainer import on_gpus, train_sft
from actors.train.on_ray.worker import Assignment, work
from actors.train.sft_loop import SftData
from configs.errors import JobFailed, UserError
from configs.sft import SftConfig


def train(
    config: SftConfig, datums: list[Datum], folder: Path, **fields: object
) -> list[StepMetrics]:
    steps: list[StepMetrics] = []
    config = config.model_copy(update=fields)
    data = SftData(datums)
    train_sft(config, data, run_id="run", folder=str(folder), on_step=steps.append)
    return steps


def test_how_the_work_is_split_changes_nothing(
    trained_by_two: Trained, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    alone = train_in_process(sft_config, datums, tmp_path / "one")
    halves = sft_config.model_copy(update={"micro_batch_tokens": 48})
    halved = train_in_process(halves, datums, tmp_path / "halves")
    others = {tmp_path / "halves": halved, trained_by_two.folder: trained_by_two.steps}
    one = read_adapter(saved_checkpoints(str(tmp_path / "one"))[-1].path)
    for folder, steps in others.items():
        assert [m.step for m in steps] == [1, 2, 3, 4, 5, 6]
        assert [m.loss for m in steps] == pytest.approx([m.loss for m in alone], abs=1e-5)
        norms = [m.grad_norm for m in alone]
        assert [m.grad_norm for m in steps] == pytest.approx(norms, rel=1e-4)
        adapter = read_adapter(saved_checkpoints(str(folder))[-1].path)
        for key, tensor in one.tensors.items():
            torch.testing.assert_close(adapter.tensors[key], tensor, rtol=1e-3, atol=1e-4)
    files = sorted(p.name for p in (trained_by_two.folder / "checkpoints").iterdir())
    assert files == ["step-000002", "step-000003", "step-000004", "step-000006"]


def test_an_input_error_in_a_worker_is_the_drivers_error(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    with pytest.raises(UserError, match=r"Step \d+: the loss is"):
        train(
            *(sft_config, datums, tmp_path),
            **{"learning_rate": 1e30, "max_grad_norm": 0.0, "warmup_steps": 0, "max_failures": 0},
        )


def test_a_run_stops_at_once_where_its_steps_cannot_be_kept(
    ray_cluster: None, sft_config: SftConfig, datums: list[Datum], tmp_path: Path
):
    def on_step(metrics: StepMetrics) -> None:
        raise JobFailed("metrics.jsonl cannot be written.")

    config = sft_config.model_copy(update={"epochs": 10_000, "save_every": 0})
    with pytest.raises(JobFailed, match=r"metrics\.jsonl cannot be written"):
        train_sft(config, SftData(datums), run_id="run", folder=str(tmp_path), on_step=on_step)


def test_a_worker_does_not_try_again_after_such_an_error(ray_cluster: None):
    feed = start_feed()
    ray.get(feed.give_up.remote(UserError("The rate is too high.")))

    def program(**_: object) -> None:
        raise AssertionError("tried again")

    work(Assignment(program, run_id="run", folder="", hang_timeout_s=1.0, feed=feed))
    assert str(ray.get(feed.fault.remote())) == "The rate is too high."


def test_workers_take_a_gpu_each_where_there_are_any():
    assert on_gpus(2, gpus=2)
    assert not on_gpus(2, gpus=0)
    with pytest.raises(UserError, match="num_workers=3, but the cluster has 2 GPUs"):
        on_gpus(3, gpus=2)


@pytest.mark.parametrize(("field", "unknown"), [("targets", "q_prj"), ("layers", 99)])
def test_unknown_targets_and_layers_are_told_before_a_worker_starts(
    sft_config: SftConfig, datums: list[Datum], tmp_path: Path, field: str, unknown: object
):
    lora = sft_config.lora.model_copy(update={field: [unknown]})
    with pytest.raises(UserError, match=f"lora.{field}: .*{unknown}"):
        train(sft_config, datums, tmp_path, lora=lora)


def test_a_step_is_on_rays_metrics_endpoint(ray_cluster: None):
    show_step("a-run", some_step(3, validation_loss=1.5))
    [node] = ray.nodes()
    url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    names = ("step", "loss", "validation_loss", "tokens_per_s", "memory_mb")
    shown = ""
    for _ in range(240):  # a process reports its figures every few seconds
        with urllib.request.urlopen(url) as reply:
            shown = reply.read().decode()
        if all(f"ray_hothouse_train_{name}{{" in shown for name in names):
            break
        time.sleep(0.25)
    [line] = [x for x in shown.splitlines() if x.startswith("ray_hothouse_train_validation_loss{")]
    assert 'run="a-run"' in line
    assert line.endswith(" 1.5")
