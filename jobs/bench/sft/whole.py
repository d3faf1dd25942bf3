"""A whole run of two epochs with its checkpoints, in this process or in a worker of Ray Train.

What is measured is the second epoch, from the time of the first checkpoint's last file to that of
the second's: the start of processes is not in it, and all that a step costs the loop is.
"""

import os
import tempfile
from pathlib import Path

import torch

from actors.lm.adapter import CONFIG
from actors.train.checkpoint import checkpoint_path
from actors.train.metrics import StepMetrics
from actors.train.on_torch.process import run_sft, share_threads
from actors.train.sft_loop import SftData
from configs.sft import SftConfig
from jobs.bench.sft.child import answer
from jobs.bench.sft.rows import make_datum
from jobs.bench.sft.work import Start, Took, Work, settings

_RUN = "bench"


def second_epoch(start: Start, work: Work) -> Took:
    """Do the run."""
    config = settings(start, work).model_copy(update={"epochs": 2})
    data = SftData([make_datum(row) for row in work.rows])
    folder = tempfile.mkdtemp(dir=start.folder)
    train = _on_ray if work.on_ray else _plain
    train(config, data, folder)
    first, second = (_kept_s(folder, work.steps * epochs) for epochs in (1, 2))
    return Took(wall_s=second - first)


def _plain(config: SftConfig, data: SftData, folder: str) -> None:
    share_threads(1)
    run_sft(
        config,
        data,
        run_id=_RUN,
        folder=folder,
        device=torch.device("cpu"),
        on_step=_ignore,
        on_saved=lambda _path, _metrics: None,
    )


def _on_ray(config: SftConfig, data: SftData, folder: str) -> None:
    from actors.train.on_ray.trainer import train_sft
    from jobs.cluster import ray_session

    with ray_session():
        train_sft(config, data, run_id=_RUN, folder=folder, on_step=_ignore)


def _kept_s(folder: str, step: int) -> float:
    """When the checkpoint after `step` steps was whole."""
    return os.stat(Path(checkpoint_path(folder, step), CONFIG)).st_mtime_ns / 1e9


def _ignore(_: StepMetrics) -> None:
    pass


if __name__ == "__main__":
    answer(second_epoch)
