"""One process of a training run, with or without others beside it. Knows no Ray.

Rank and world size come from torch.distributed where it is initialised; a plain process is a run
of one rank.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten

import torch

from actors.lm.sampler import PolicySampler
from actors.train.grpo.environment import Environment
from actors.train.grpo.run import OnGrpoSaved, OnGrpoStep, OnNote, continue_grpo
from actors.train.metrics import OnStep
from actors.train.on_torch.start import start_backend
from actors.train.on_torch.team import Team
from actors.train.sft_loop import SftData
from actors.train.sft_run import OnSaved, continue_sft
from configs.errors import JobFailed
from configs.grpo import GrpoConfig
from configs.sft import SftConfig
from configs.training import TrainingConfig

_WIDTH = 200  # of what torch says about memory, which goes on to advise programmers


def run_sft(
    config: SftConfig,
    data: SftData,
    *,
    run_id: str,
    folder: str,
    device: torch.device,
    on_step: OnStep,
    on_saved: OnSaved,
    on_progress: Callable[[], None] = lambda: None,
    leaving: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the end from the run's last checkpoint, on this rank's share.

    `on_step` gets the steps of earlier attempts first. `on_saved` gets each checkpoint's path
    on every rank. `on_progress` is called whenever something has been computed. `leaving` is asked
    between checkpoints, with one answer on all ranks: whether a machine is about to be taken away.
    Raises JobFailed when the device has too little memory for a pass.
    """
    backend = start_backend(config, device, on_progress)
    with _told_when_out_of_memory(config):
        continue_sft(
            backend,
            data,
            config,
            run_id=run_id,
            folder=folder,
            leads=backend.rank == 0,
            on_step=on_step,
            on_saved=on_saved,
            leaving=leaving,
        )


def run_grpo(
    config: GrpoConfig,
    environment: Environment,
    sampler: PolicySampler,
    *,
    run_id: str,
    folder: str,
    device: torch.device,
    on_step: OnGrpoStep,
    on_saved: OnGrpoSaved,
    on_progress: Callable[[], None] = lambda: None,
    leaving: Callable[[], bool] = lambda: False,
    on_note: OnNote = lambda note: None,
) -> None:
    """The same for rewards: the first rank asks the sampler for what all of them learn from.

    `on_progress` is called while it waits as well; `on_note` gets what is done before the steps.
    """
    backend = start_backend(config, device, on_progress)
    with _told_when_out_of_memory(config):
        continue_grpo(
            backend,
            environment,
            sampler,
            config,
            team=Team(on_progress),
            run_id=run_id,
            folder=folder,
            on_step=on_step,
            on_saved=on_saved,
            leaving=leaving,
            on_note=on_note,
        )


@contextmanager
def _told_when_out_of_memory(config: TrainingConfig) -> Iterator[None]:
    """A pass that has no room has none when it is tried again either."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        now = config.micro_batch_tokens or "the default"
        again = "" if config.gradient_checkpointing else "gradient_checkpointing=true or "
        raise JobFailed(
            f"The device has too little memory for a micro-batch: {shorten(str(error), _WIDTH)} "
            f"Give {again}a smaller micro_batch_tokens (it is {now}): the same command then goes "
            "on from the last checkpoint. Where a single row is as long, give a smaller max_tokens."
        ) from None


def share_threads(processes: int, *, beside_sampler: bool = False) -> None:
    """Give this process its part of the machine's cores, one of them left to Ray and the driver.

    `beside_sampler`: half of the cores are a sampler's, which computes at the same time.
    Measured on 2 busy cores: two threads train a small model 4 to 17 times slower than one,
    because each waits for the other to be scheduled.
    """
    cores = len(os.sched_getaffinity(0))
    ours = cores // 2 if beside_sampler else cores - 1
    torch.set_num_threads(max(1, ours // processes))
