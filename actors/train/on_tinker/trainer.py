"""A training run on the service, in this process: the same loop, which needs no Ray here.

A client that met a failure cannot be used again, and neither can its session after a restart of
the service: a new one goes on from the run's last whole checkpoint, after a pause in which a
service that was restarted comes back.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from actors.lm.base import resolve_base_name
from actors.lm.sampler import PolicySampler
from actors.train.checkpoint import SavedCheckpoint, saved_checkpoints
from actors.train.grpo.environment import Environment
from actors.train.grpo.run import OnGrpoStep, OnNote, continue_grpo
from actors.train.metrics import MetricsRow, OnStep, Told
from actors.train.on_tinker.backend import TinkerBackend
from actors.train.on_tinker.faults import ServiceFailed
from actors.train.on_tinker.lora import service_lora
from actors.train.on_tinker.service import Service, open_service
from actors.train.on_torch.team import Team
from actors.train.sft_loop import SftData
from actors.train.sft_run import continue_sft
from configs.errors import JobFailed
from configs.grpo import GrpoConfig
from configs.sft import SftConfig
from configs.training import TrainingConfig

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGER, _LONGEST_PAUSE_S = 15.0, 4.0, 300.0


def train_on_tinker(
    config: SftConfig,
    data: SftData,
    *,
    run_id: str,
    folder: str,
    on_step: OnStep,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SavedCheckpoint]:
    """Train the adapter `run_id` to the end and return its checkpoints.

    `on_step` is called for every step once, those of earlier attempts included. The arguments are
    those of `actors.train.on_ray.trainer.train_sft`; `sleep` waits for seconds between attempts.
    """
    base_model = resolve_base_name(config.base_model)
    lora = service_lora(config)
    shown = _News(on_step)

    def attempt(service: Service) -> None:
        continue_sft(
            TinkerBackend(service, base_model, lora, config.seed, config.hang_timeout_s),
            data,
            config,
            run_id=run_id,
            folder=folder,
            leads=True,
            on_step=shown,
            on_saved=lambda path, metrics: None,
        )

    _attempts(config, base_model, attempt, sleep)
    return saved_checkpoints(folder)


def train_grpo_on_tinker(
    config: GrpoConfig,
    environment: Environment,
    open_sampler: Callable[[Service], PolicySampler],
    *,
    run_id: str,
    folder: str,
    on_step: OnGrpoStep,
    on_note: OnNote = lambda note: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SavedCheckpoint]:
    """The same by reinforcement: `open_sampler` gives each attempt a sampler of its service."""
    base_model = resolve_base_name(config.base_model)
    lora = service_lora(config)
    shown = _News(on_step)

    def attempt(service: Service) -> None:
        continue_grpo(
            TinkerBackend(service, base_model, lora, config.seed, config.hang_timeout_s),
            environment,
            open_sampler(service),
            config,
            team=Team(),
            run_id=run_id,
            folder=folder,
            on_step=shown,
            on_saved=lambda path, metrics: None,
            on_note=on_note,
        )

    _attempts(config, base_model, attempt, sleep)
    return saved_checkpoints(folder)


def _attempts(
    config: TrainingConfig,
    base_model: str,
    attempt: Callable[[Service], None],
    sleep: Callable[[float], None],
) -> None:
    """Until one comes to its end; JobFailed when more than `max_failures` did not."""
    for failures in range(config.max_failures + 1):
        try:
            with open_service(answered_before=failures > 0) as service:
                service.check_model(base_model)
                attempt(service)
            return
        except ServiceFailed as failure:
            if failures == config.max_failures:
                raise JobFailed(
                    f"Training failed more than max_failures={config.max_failures} times; its "
                    f"checkpoints are kept and the same command continues it. The last failure:\n"
                    f"{failure}"
                ) from None
            seconds = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * _LONGER**failures)
            _log.warning("%s The run goes on from its last checkpoint in %g s.", failure, seconds)
            sleep(seconds)


class _News:
    """Steps that are done again after a failure are told again only where they are news."""

    def __init__(self, on_step: Callable[[Any], None]) -> None:
        self._on_step, self._told = on_step, Told()

    def __call__(self, metrics: MetricsRow) -> None:
        if self._told.is_news(metrics.fields()):
            self._on_step(metrics)
