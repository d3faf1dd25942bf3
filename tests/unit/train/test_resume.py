"""A run that is cut short and continued ends with the same bits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actors.lm.adapter import TENSORS, read_adapter
from actors.train.checkpoint import latest_checkpoint, saved_checkpoints
from actors.train.metrics import StepMetrics
from configs.errors import UserError
from configs.sft import SftConfig

Train = Callable[..., list[StepMetrics]]


class Killed(Exception):
    """Stands for the end of the process."""


def cut_after(step: int) -> Callable[[StepMetrics], None]:
    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == step:
            raise Killed

    return on_step


@pytest.mark.parametrize("step", range(1, 7))
def test_a_run_cut_at_any_step_ends_with_the_same_bits(
    sft_config: Callable[..., SftConfig], train_here: Train, tmp_path: Path, step: int
):
    config = sft_config()
    whole = train_here(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_here(config, tmp_path / "cut", on_step=cut_after(step))
    continued = train_here(config, tmp_path / "cut")
    timeless = [
        [replace(m, tokens_per_s=0, memory_mb=0) for m in run] for run in (whole, continued)
    ]
    assert timeless[0] == timeless[1]
    expected = saved_checkpoints(str(tmp_path / "whole"))
    got = saved_checkpoints(str(tmp_path / "cut"))
    assert [(c.step, c.version, c.digest) for c in got] == [
        (c.step, c.version, c.digest) for c in expected
    ]
    assert [c.step for c in got] == [2, 3, 4, 6]


def test_a_checkpoint_cut_short_does_not_count_and_is_written_again(
    sft_config: Callable[..., SftConfig], train_here: Train, tmp_path: Path
):
    config = sft_config()
    train_here(config, tmp_path)
    before = saved_checkpoints(str(tmp_path))
    last = tmp_path / "checkpoints" / "step-000006"
    tensors = last / TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-100])
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoints" / "step-000004")
    train_here(config, tmp_path)
    assert saved_checkpoints(str(tmp_path)) == before
    assert read_adapter(str(last)).digest == before[-1].digest


def test_other_data_is_refused(
    sft_config: Callable[..., SftConfig], train_here: Train, tmp_path: Path, datums: list
):
    train_here(sft_config(), tmp_path)
    changed = datums.pop()
    try:
        with pytest.raises(UserError, match="was trained on other data"):
            train_here(sft_config(), tmp_path)
    finally:
        datums.append(changed)


def test_a_loss_that_is_not_a_number_stops_with_the_last_checkpoint_kept(
    sft_config: Callable[..., SftConfig], train_here: Train, tmp_path: Path
):
    config = sft_config(learning_rate=1e30, warmup_steps=0, max_grad_norm=0, save_every=1)
    with pytest.raises(UserError, match=r"Step \d+: the loss is .*learning_rate below 1e\+30"):
        train_here(config, tmp_path)
    assert latest_checkpoint(str(tmp_path)) is not None


def test_a_bfloat16_base_trains_a_float32_adapter(
    sft_config: Callable[..., SftConfig], train_here: Train, tmp_path: Path
):
    steps = train_here(sft_config(dtype="bfloat16", epochs=6), tmp_path)
    assert steps[-1].loss < steps[0].loss - 0.1
    adapter = read_adapter(saved_checkpoints(str(tmp_path))[-1].path)
    assert {str(tensor.dtype) for tensor in adapter.tensors.values()} == {"torch.float32"}
