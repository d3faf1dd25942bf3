"""Reinforcement learning: the loop, written once against the verbs of training and a source.

Every rank runs it and every rank gets the same batches, so all of them stop, save and measure at
the same steps. Version `step + 1` of the policy is what `step` steps made of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from actors.train.backend import AdamParams, Label, TrainingBackend
from actors.train.grpo.handover import HandOver
from actors.train.grpo.health import Health
from actors.train.grpo.learn import learn
from actors.train.grpo.measures import row_of, with_evaluation, with_start
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.grpo.shared_source import SharedSource
from configs.grpo import GrpoConfig


@dataclass
class Progress:
    """Where a run stands; it grows in place."""

    history: list[GrpoMetrics] = field(default_factory=list)
    position: int = 0  # of the data's order
    rollbacks: int = 0

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.history)


@dataclass(frozen=True)
class Hooks:
    """What is done for a loop, on every rank."""

    on_step: Callable[[GrpoMetrics], None]
    keep: Callable[[], None]  # a checkpoint of all that was done
    between: Callable[[], None]  # after a step without one
    restore: Callable[[], int]  # weights and optimiser of the last checkpoint; returns its step


def grpo(
    backend: TrainingBackend,
    source: SharedSource,
    config: GrpoConfig,
    name: str,
    progress: Progress,
    hooks: Hooks,
    *,
    evaluates: bool,
) -> None:
    """Train the adapter `name` to the last step from where `progress` stands.

    `evaluates` says that there are held-out problems. JobFailed where the sampler does not answer
    as what is trained, and where a step's alarms end the run.
    """
    health, adam = Health(config), adam_of(config)
    hand_over = HandOver(source, config)

    def publish(steps: int) -> float | None:
        return hand_over(backend, Label(name, steps + 1, steps))

    publish(progress.steps)
    start = source.evaluate() if evaluates and not progress.steps else None
    source.begin(progress.steps + 1, progress.position, progress.rollbacks)
    while progress.steps < config.steps:
        step, clock = progress.steps + 1, _Clock()
        batch = source.next(step)
        if config.share_gpus:
            source.sleep()
        wait_s = clock.lap_s()
        learnt = learn(backend, batch, config, adam)
        train_s = clock.lap_s()
        row = row_of(step, batch, learnt, config)
        goes_back = health.wants_rollback(row, is_proved=hand_over.is_proved)
        if goes_back:
            row = replace(row, rolled_back_to=hooks.restore())
        if config.share_gpus:
            source.wake()
        row = replace(row, probe_gap=publish(step), wait_s=wait_s, train_s=train_s)
        row = replace(row, handover_s=clock.lap_s(), tokens_per_s=row.tokens / clock.total_s())
        progress.position = batch.position
        if goes_back:
            progress.rollbacks += 1
            source.begin(step + 1, progress.position, progress.rollbacks)
        if start:
            row, start = with_start(row, start), None
        if evaluates and _measures(step, config):
            row = with_evaluation(row, source.evaluate())
        progress.history.append(row)
        hooks.on_step(row)
        if step == config.steps or (step % config.save_every == 0 and not goes_back):
            hooks.keep()
            health.kept()
        else:
            hooks.between()


def adam_of(config: GrpoConfig) -> AdamParams:
    """The optimiser's settings, the same at every step."""
    return AdamParams(
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        grad_clip_norm=config.max_grad_norm,
    )


def _measures(step: int, config: GrpoConfig) -> bool:
    """Whether held-out problems are measured after a step; they are before the first, anyway."""
    return step == config.steps or (config.eval_every > 0 and step % config.eval_every == 0)


class _Clock:
    """Seconds since it was made, and between looks at it."""

    def __init__(self) -> None:
        self._began_s = self._looked_s = time.perf_counter()

    def lap_s(self) -> float:
        """Since the last look."""
        last_s, self._looked_s = self._looked_s, time.perf_counter()
        return self._looked_s - last_s

    def total_s(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._began_s
