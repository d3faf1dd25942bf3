"""Supervised fine-tuning: the loop, written once against the verbs of training.

Every rank runs it and every rank comes to the same numbers, so all of them stop, save and measure
at the same steps.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.train.backend import AdamParams, TrainingBackend
from actors.train.datum import Datum, normalised
from actors.train.finite import check_step, check_validation
from actors.train.metrics import OnStep, StepMetrics, lost_patience, process_memory_mb
from actors.train.rates import rate_share, warmup_length
from actors.train.schedule import Schedule
from configs.sft import SftConfig


class SftData(NamedTuple):
    """What a run learns, and what it is measured on."""

    train: Sequence[Datum]
    validation: Sequence[Datum] = ()
    places: Sequence[str] = ()  # `file:line` of every row of `train`


def sft(
    backend: TrainingBackend,
    data: SftData,
    config: SftConfig,
    history: list[StepMetrics],
    *,
    on_step: OnStep,
    keep: Callable[[list[StepMetrics]], None],
    between: Callable[[list[StepMetrics]], None] = lambda done: None,
) -> None:
    """Train to the end from the step after `history`, which grows in place.

    A pass and the step on it are asked for together. Their answers are looked at before anything
    else is asked for, so that nothing is kept that rests on a step nobody has seen.

    `keep` is called with everything done so far: at save points, and where the run stops early.
    After every other step it is `between`.
    """
    schedule = sft_schedule(config, len(data.train))
    save_points, validation_points = set(schedule.save_points()), set(schedule.validation_points())
    held_out = normalised(data.validation) if data.validation else []
    ended = finished(config, len(data.train), history)
    while not ended:
        started_s = time.perf_counter()
        step = len(history)
        rows = schedule.batch(step)
        batch = [data.train[row] for row in rows]
        adam = adam_at(config, step, schedule.total_steps)
        passing = backend.forward_backward(normalised(batch), "cross_entropy")
        stepping = backend.optim_step(adam)
        passed, grad_norm = passing.result(), stepping.result().grad_norm
        seconds = time.perf_counter() - started_s
        places = [data.places[row] for row in rows] if data.places else []
        check_step(step + 1, passed, grad_norm, places, config.learning_rate)
        validation_loss = None
        if held_out and step + 1 in validation_points:
            validation_loss = backend.forward(held_out, "cross_entropy").result().loss
            check_validation(step + 1, validation_loss)
        tokens = sum(len(datum) for datum in batch)
        history.append(
            StepMetrics(
                step=step + 1,
                epoch=(step + 1) / schedule.steps_per_epoch,
                loss=passed.loss,
                tokens=tokens,
                target_tokens=sum(datum.target_tokens for datum in batch),
                learning_rate=adam.learning_rate,
                grad_norm=grad_norm,
                tokens_per_s=tokens / seconds,
                memory_mb=process_memory_mb(),
                validation_loss=validation_loss,
            )
        )
        on_step(history[-1])
        ended = finished(config, len(data.train), history)
        if ended or step + 1 in save_points:
            keep(history)
        else:
            between(history)


def finished(config: SftConfig, rows: int, history: Sequence[StepMetrics]) -> bool:
    """Whether a run on so many rows is done: to its last step, or for lack of progress."""
    total_steps = sft_schedule(config, rows).total_steps
    return len(history) >= total_steps or lost_patience(history, config.patience)


def sft_schedule(config: SftConfig, rows: int) -> Schedule:
    """The schedule of a config on so many rows."""
    return Schedule(
        rows,
        config.epochs,
        config.batch_size,
        config.seed,
        save_every=config.save_every,
        validate_every=config.validate_every,
    )


def adam_at(config: SftConfig, step: int, total_steps: int) -> AdamParams:
    """The optimiser's settings at a step."""
    warmup = warmup_length(config.warmup_steps, config.warmup_share, total_steps)
    share = rate_share(config.schedule, step, total_steps, warmup)
    return AdamParams(
        learning_rate=config.learning_rate * share,
        weight_decay=config.weight_decay,
        grad_clip_norm=config.max_grad_norm,
    )
