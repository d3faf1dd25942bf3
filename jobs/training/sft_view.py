"""What a person sees of a training run: its data, its steps, its checkpoints."""

import shlex
from collections.abc import Sequence

from actors.lm.base import resolve_base_name
from actors.store.run import Run
from actors.train.checkpoint import SavedCheckpoint, read_cursor
from actors.train.data.load import TrainingData
from actors.train.metrics import StepMetrics, best_validation, lost_patience
from actors.train.sft_loop import sft_schedule
from configs.sft import LOW_LEARNING_RATE, SftConfig
from jobs import console
from jobs.console import duration, short_digest


def say_plan(run_id: str, config: SftConfig, data: TrainingData, done: int) -> None:
    """What is about to be trained on, from where, and what looks wrong with it."""
    for line in data.report.lines():
        console.say(line)
    schedule = sft_schedule(config, len(data.train))
    console.say(
        f"{run_id}: {_counted(schedule.total_steps, 'step')}, "
        f"{_counted(len(schedule.save_points()), 'checkpoint')}"
        f"{f'; goes on after step {done}' if done else ''}."
    )
    if config.learning_rate < LOW_LEARNING_RATE:
        console.say(
            f"learning_rate={config.learning_rate} is one for full fine-tuning; a LoRA hardly "
            "moves at it, 2e-4 is usual."
        )


def step_note(step: StepMetrics, total_steps: int, steps_per_s: float) -> str:
    """What stands beside the progress: the newest numbers, and the time left where it is known."""
    parts = [f"loss {step.loss:.3f}"]
    if step.validation_loss is not None:
        parts.append(f"validation {step.validation_loss:.3f}")
    parts.append(f"{step.tokens_per_s:.0f} tokens/s")
    if steps_per_s and step.step < total_steps:
        parts.append(f"{duration((total_steps - step.step) / steps_per_s)} left")
    return ", ".join(parts)


def report(config: SftConfig, run: Run, saved: Sequence[SavedCheckpoint]) -> None:
    """The checkpoints that stand, why there are no more, and the command that evaluates them."""
    names = [f"{run.folder}/{c.path.split(f'{run.folder}/')[-1]}" for c in saved]
    columns = {
        "checkpoint": names,
        "version": [f"@{c.version}" for c in saved],
        "step": [str(c.step) for c in saved],
        "loss": [_loss(c.loss) for c in saved],
        "validation": [_loss(c.validation_loss) for c in saved],
        "digest": [short_digest(c.digest) for c in saved],
    }
    if all(c.validation_loss is None for c in saved):
        del columns["validation"]
    console.table(
        list(columns),
        zip(*columns.values(), strict=True),
        title=f"{run.run_id} on {resolve_base_name(config.base_model)}",
        numbers=True,
    )
    _say_why_it_stopped(config, read_cursor(saved[-1].path, StepMetrics).history)
    fields = [
        "eval_file=evals/RUN.eval.yaml",
        f"base_model={config.base_model}",
        f"checkpoint_paths=[{', '.join(names)}]",
        *([f"storage={config.storage}"] if config.storage != "." else []),
    ]
    console.say("Evaluate them:\n  python -m jobs eval " + shlex.join(fields))


def _say_why_it_stopped(config: SftConfig, history: Sequence[StepMetrics]) -> None:
    best = best_validation(history)
    if best and lost_patience(history, config.patience):
        console.say(
            f"Stopped after step {len(history)}: the last {config.patience} validations were no "
            f"better than {_loss(best.validation_loss)} after step {best.step}."
        )


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
