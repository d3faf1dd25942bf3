"""One process of a training run, with or without others beside it. Knows no Ray.

Rank and world size come from torch.distributed where it is initialised; a plain process is a run
of one rank.
"""

import os
from collections.abc import Callable, Sequence

import torch

from actors.lm.base import load_base
from actors.train.backend import Label
from actors.train.checkpoint import (
    Cursor,
    checkpoint_path,
    latest_checkpoint,
    read_cursor,
    write_cursor,
)
from actors.train.datum import Datum, data_digest
from actors.train.on_torch.lora import add_lora
from actors.train.metrics import OnStep, StepMetrics
from actors.train.sft_loop import sft, sft_schedule
from actors.train.on_torch.backend import TorchBackend
from configs.errors import UserError
from configs.sft import SftConfig


def run_sft(
    config: SftConfig,
    datums: Sequence[Datum],
    *,
    run_id: str,
    folder: str,
    device: torch.device,
    on_step: OnStep,
    on_saved: Callable[[str, StepMetrics], None],
) -> None:
    """Train to the end from the run's last checkpoint, on this rank's share.

    `on_step` gets the steps of earlier attempts first. `on_saved` gets each checkpoint's path
    on every rank.
    """
    base = load_base(config.base_model, getattr(torch, config.dtype), str(device))
    model = add_lora(base, config.lora, config.seed)
    backend = TorchBackend(model, seed=config.seed, micro_batch_tokens=config.micro_batch_tokens)
    versions = sft_schedule(config, len(datums)).save_points()
    digest = data_digest(datums)
    history = _resume(backend, folder, digest)

    def keep(done: list[StepMetrics]) -> None:
        step = done[-1].step
        path = checkpoint_path(folder, step)
        if backend.rank == 0:
            write_cursor(path, Cursor(done, digest))
        backend.save(path, Label(run_id, versions.index(step) + 1, step))
        on_saved(path, done[-1])

    for metrics in history:
        on_step(metrics)
    sft(backend, datums, config, history, on_step=on_step, keep=keep)


def share_threads(processes: int) -> None:
    """Give this process its part of the machine's cores, one of them left to Ray and the driver.

    Measured on 2 busy cores: two threads train a small model 4 to 17 times slower than one,
    because each waits for the other to be scheduled.
    """
    cores = len(os.sched_getaffinity(0)) - 1
    torch.set_num_threads(max(1, cores // processes))


def _resume(backend: TorchBackend, folder: str, digest: str) -> list[StepMetrics]:
    path = latest_checkpoint(folder)
    if path is None:
        return []
    cursor = read_cursor(path)
    if cursor.data_digest != digest:
        raise UserError(
            f"{path}: was trained on other data than this run is given (the file, max_tokens or "
            "the chat template changed); use another run_id."
        )
    backend.load(path)
    return cursor.history
