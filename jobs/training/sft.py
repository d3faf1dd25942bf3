"""`sft`: examples or conversations -> LoRA adapter checkpoints, on this cluster or on Tinker."""

import os
import re
import time
from collections.abc import Sequence
from functools import partial

from actors.lm.base import load_tokenizer, resolve_base_name
from actors.store.inputs import read_input
from actors.store.run import Run, open_run
from actors.store.storage import Storage
from actors.train.checkpoint import read_cursor, saved_checkpoints
from actors.train.data.load import TrainingData, load_training_data
from actors.train.metrics import OnStep, StepMetrics
from actors.train.sft_loop import SftData, finished, sft_schedule
from actors.train.standby import latest_state
from configs.errors import UserError
from configs.sft import DataSource, SftConfig
from jobs import console
from jobs.training import sft_view
from jobs.training.kept_metrics import complete_metrics, has_metrics, kept_metrics
from jobs.training.place import check_adapter, training_session
from jobs.training.trackers import check_trackers


def run(config: SftConfig) -> int:
    """Train, and print the checkpoints with the command that evaluates them."""
    train(config)
    return 0


def train(config: SftConfig) -> list[str]:
    """Train to the end and return the paths of the checkpoints, in the order of their steps."""
    check_trackers(config.report_to)
    read = partial(read_input, storage=Storage(config.storage))
    data = load_training_data(config, load_tokenizer(config.base_model), read)
    inputs = {"data": data.identity, "base_model": resolve_base_name(config.base_model)}
    check_adapter(config)
    run = open_run(config, "sft", data_label(config.sources), inputs)
    try:
        state = latest_state(run.storage.path(run.folder))
        if not config.resume and (state or has_metrics(run)):
            raise UserError(
                f'Run "{run.run_id}" was begun already; give run_id=ANOTHER_NAME, or '
                "resume=true to continue it."
            )
        history = read_cursor(state, StepMetrics).history if state else []
        if finished(config, len(data.train), history):
            complete_metrics(run, config, history)
        else:
            sft_view.say_plan(run.run_id, config, data, done=len(history))
            _train(config, data, run, done=len(history))
        saved = saved_checkpoints(run.storage.path(run.folder))
        sft_view.report(config, run, saved)
        return [checkpoint.path for checkpoint in saved]
    finally:
        run.close()


def data_label(sources: Sequence[DataSource]) -> str:
    """What data files are about, for the run's name: their own without `generate` and digest."""
    stems = [os.path.basename(source.file).split(".")[0] for source in sources]
    return "-".join(re.sub(r"^generate-(.+)-[0-9a-f]{8}$", r"\1", stem) for stem in stems)


def _train(config: SftConfig, data: TrainingData, run: Run, done: int) -> None:
    total_steps = sft_schedule(config, len(data.train)).total_steps
    pace = console.Pace()
    with (
        training_session(config, {"num_workers": config.worker_range[0]}),
        kept_metrics(run, config) as keep,
        console.progress("sft", total_steps, done) as shown,
    ):

        def on_step(step: StepMetrics) -> None:
            per_s = pace.per_s(step.step, time.monotonic()) if keep(step) else 0.0
            if step.step > done:  # those before are told again
                shown.advance(note=sft_view.step_note(step, total_steps, per_s))

        _on_backend(config, data, run, on_step)


def _on_backend(config: SftConfig, data: TrainingData, run: Run, on_step: OnStep) -> None:
    """Train where the config says. Both load on use: Ray Train takes seconds."""
    sent = SftData(data.train, data.validation, [row.where for row in data.rows])
    folder = run.storage.path(run.folder)
    if config.backend == "tinker":
        from actors.train.on_tinker.trainer import train_on_tinker

        train_on_tinker(config, sent, run_id=run.run_id, folder=folder, on_step=on_step)
        return
    from actors.train.on_ray.trainer import train_sft

    # Workers have a working directory of their own: a relative base would not be found there.
    placed = config.model_copy(update={"base_model": resolve_base_name(config.base_model)})
    train_sft(placed, sent, run_id=run.run_id, folder=folder, on_step=on_step)
