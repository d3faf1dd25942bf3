"""Supervised fine-tuning: the loop, written once against the verbs of training."""

import math
import time
from collections.abc import Callable, Sequence

from actors.train.backend import AdamParams, TrainingBackend
from actors.train.datum import Datum, normalised
from actors.train.metrics import OnStep, StepMetrics
from actors.train.schedule import Schedule, linear_rate
from configs.errors import UserError
from configs.sft import SftConfig


def sft(
    backend: TrainingBackend,
    datums: Sequence[Datum],
    config: SftConfig,
    history: list[StepMetrics],
    *,
    on_step: OnStep,
    keep: Callable[[list[StepMetrics]], None],
) -> None:
    """Train to the end of the schedule, from the step after `history`, which grows in place.

    `keep` is called at every save point, with everything done so far.
    """
    schedule = sft_schedule(config, len(datums))
    save_points = set(schedule.save_points())
    for step in range(len(history), schedule.total_steps):
        started_s = time.perf_counter()
        batch = [datums[row] for row in schedule.batch(step)]
        adam = adam_at(config, step, schedule.total_steps)
        loss = backend.forward_backward(normalised(batch), "cross_entropy")
        grad_norm = backend.optim_step(adam)
        if not math.isfinite(loss + grad_norm):
            raise UserError(
                f"Step {step + 1}: the loss is {loss} and the gradient's norm {grad_norm}; the "
                f"last checkpoint is kept. Give a learning_rate below {config.learning_rate}."
            )
        tokens = sum(len(datum) for datum in batch)
        metrics = StepMetrics(
            step=step + 1,
            epoch=(step + 1) / schedule.steps_per_epoch,
            loss=loss,
            tokens=tokens,
            target_tokens=sum(datum.target_tokens for datum in batch),
            learning_rate=adam.learning_rate,
            grad_norm=grad_norm,
            tokens_per_s=tokens / (time.perf_counter() - started_s),
        )
        history.append(metrics)
        on_step(metrics)
        if step + 1 in save_points:
            keep(history)


def sft_schedule(config: SftConfig, rows: int) -> Schedule:
    """The schedule of a config on so many rows."""
    return Schedule(rows, config.epochs, config.batch_size, config.seed, config.save_every)


def adam_at(config: SftConfig, step: int, total_steps: int) -> AdamParams:
    """The optimiser's settings at a step: the rate follows the linear schedule."""
    share = linear_rate(step, total_steps, config.warmup_steps)
    return AdamParams(
        learning_rate=config.learning_rate * share,
        weight_decay=config.weight_decay,
        grad_clip_norm=config.max_grad_norm,
    )
