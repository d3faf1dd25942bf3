"""Where metrics go besides metrics.jsonl, read back from what was written."""

import struct
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from small_training import some_step
from tensorboardX.proto.event_pb2 import Event  # pyrefly: ignore

from actors.store.run import Run
from actors.store.storage import Storage
from configs.errors import UserError
from configs.sft import SftConfig
from jobs.training.trackers import _TRACKERS, check_trackers, trackers


def config(**fields: Any) -> SftConfig:
    return SftConfig.model_validate({"data_file": "d.jsonl"} | fields)


def track(folder: Path, name: str, steps: range) -> None:
    run = Run(Storage(str(folder)), "r", {}, lock=None)
    with trackers(run, config(report_to=[name])) as told:
        for step in steps:
            for tracker in told:
                tracker.add(some_step(step, loss=1 / step))


def scalars(folder: Path) -> Iterator[tuple[int, str, float]]:
    """What TensorBoard reads: length, its checksum, an event, its checksum; and so on."""
    for path in sorted(folder.glob("runs/r/tensorboard/events.*")):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            event = Event.FromString(data[start + 12 : start + 12 + length])
            start += 12 + length + 4
            for value in event.summary.value:
                yield event.step, value.tag, value.simple_value


def test_tensorboard_gets_every_field_of_every_step_and_a_second_try_adds_its_own(tmp_path: Path):
    track(tmp_path, "tensorboard", range(1, 3))
    track(tmp_path, "tensorboard", range(3, 5))
    found = sorted(scalars(tmp_path))
    losses = [(step, value) for step, tag, value in found if tag == "train/loss"]
    assert losses == [(n, pytest.approx(1 / n)) for n in range(1, 5)]
    assert {tag for _, tag, _ in found} == {
        "train/epoch", "train/loss", "train/tokens", "train/target_tokens",
        "train/learning_rate", "train/grad_norm", "train/tokens_per_s", "train/memory_mb",
    }  # fmt: skip


def test_tensorboard_needs_a_disk():
    run = Run(Storage("memory://tracked"), "r", {}, lock=None)
    told = trackers(run, config(report_to=["tensorboard"], storage="s3://bucket"))
    with pytest.raises(UserError, match="storage=s3://bucket is none"), told:
        pass


def test_wandb_gets_the_steps_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    track(tmp_path, "wandb", range(1, 3))
    (written,) = tmp_path.glob("runs/r/wandb/offline-run-*/run-r.wandb")
    assert b"tokens_per_s" in written.read_bytes()


@pytest.mark.parametrize("error", [None, UserError("no"), KeyboardInterrupt()])
def test_a_tracker_is_told_whether_training_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
):
    finished: list[bool] = []

    class Told:
        def __init__(self, run: Run, config: SftConfig) -> None: ...

        def close(self, failed: bool) -> None:
            finished.append(not failed)

    monkeypatch.setitem(_TRACKERS, "wandb", Told)
    run = Run(Storage(str(tmp_path)), "r", {}, lock=None)
    raised = pytest.raises(type(error)) if error else nullcontext()
    with raised, trackers(run, config(report_to=["wandb"])):
        if error:
            raise error
    assert finished == [error is None]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    check_trackers(["tensorboard"])
    with pytest.raises(UserError, match=r"pip install .*\[wandb\]"):
        check_trackers(["tensorboard", "wandb"])
