"""A whole SFT run on one backend: from its last checkpoint to its end, saved as it goes.

The run's folder is the truth about what was done. Whoever has a backend calls this: a process of
a Ray Train group, a plain process, the task that talks to a service.
"""

from collections.abc import Callable

from actors.train.backend import Label, TrainingBackend
from actors.train.card import run_facts, unsaved, write_card
from actors.train.checkpoint import (
    Cursor,
    checkpoint_path,
    prune,
    read_cursor,
    write_cursor,
)
from actors.train.datum import data_digest
from actors.train.full_disk import told_when_full
from actors.train.metrics import OnStep, StepMetrics, validation_losses
from actors.train.sft_loop import SftData, sft, sft_schedule
from actors.train.standby import drop_standby, latest_state, standby_path
from configs.errors import UserError
from configs.sft import SftConfig

OnSaved = Callable[[str, StepMetrics], None]


def continue_sft(
    backend: TrainingBackend,
    data: SftData,
    config: SftConfig,
    *,
    run_id: str,
    folder: str,
    leads: bool,
    on_step: OnStep,
    on_saved: OnSaved,
    leaving: Callable[[], bool] = lambda: False,
) -> None:
    """Train a fresh backend to the end of the run in `folder`.

    `leads` is true on the one rank that writes. `on_step` gets the steps of earlier attempts
    first; `on_saved` gets each checkpoint's path, on every rank, when it is whole. `leaving` is
    asked after every step without a checkpoint, with one answer on all ranks: whether to keep the
    state at once, because a machine is about to be taken away.
    """
    schedule = sft_schedule(config, len(data.train))
    digest = data_digest(data.train)
    history = _resume(backend, folder, digest)

    def write(path: str, done: list[StepMetrics]) -> None:
        step = done[-1].step
        with told_when_full(path):
            cursor, label = Cursor(done, digest), Label(run_id, schedule.version(step), step)
            if leads:
                write_cursor(path, cursor)
                write_card(path, run_facts(config, unsaved(config, label), cursor))
            backend.save(path, label)

    def keep(done: list[StepMetrics]) -> None:
        path = checkpoint_path(folder, done[-1].step)
        write(path, done)
        on_saved(path, done[-1])
        if leads:
            prune(folder, config.keep_last, done[-1].step, validation_losses(done))
            drop_standby(folder)

    def between(done: list[StepMetrics]) -> None:
        if leaving():
            write(standby_path(folder, done[-1].step), done)

    for metrics in history:
        on_step(metrics)
    sft(backend, data, config, history, on_step=on_step, keep=keep, between=between)


def _resume(backend: TrainingBackend, folder: str, digest: str) -> list[StepMetrics]:
    path = latest_state(folder)
    if path is None:
        return []
    cursor = read_cursor(path, StepMetrics)
    if cursor.data_digest != digest:
        raise UserError(
            f"{path}: was trained on other data than this run is given (the file, max_tokens or "
            "the chat template changed); use another run_id."
        )
    backend.load(path)
    return cursor.history
