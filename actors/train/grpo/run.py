"""A whole run of reinforcement learning on one backend: from its last checkpoint to its end.

The run's folder is the truth about what was done. What a checkpoint keeps, with the config, says
what every later rollout is: in synchronous mode a run that was killed anywhere ends with the same
bits.
"""

import secrets
from collections.abc import Callable

from actors.lm.base import load_tokenizer
from actors.lm.sampler import PolicySampler
from actors.train.backend import Label, TrainingBackend
from actors.train.card import unsaved, write_card
from actors.train.checkpoint import (
    Cursor,
    checkpoint_path,
    latest_checkpoint,
    prune,
    read_cursor,
    step_of,
    write_cursor,
)
from actors.train.full_disk import told_when_full
from actors.train.grpo.card import grpo_facts
from actors.train.grpo.environment import Environment
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.loop import Hooks, Progress, grpo
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.grpo.shared_source import SharedSource, Team
from actors.train.grpo.source import RolloutSource
from actors.train.grpo.warm_start import warm_start
from actors.train.standby import drop_standby, latest_state, standby_path
from configs.errors import JobFailed, UserError
from configs.grpo import GrpoConfig

OnGrpoStep = Callable[[GrpoMetrics], None]
OnGrpoSaved = Callable[[str, GrpoMetrics], None]
OnNote = Callable[[str], None]  # what is done that is no step


def continue_grpo(
    backend: TrainingBackend,
    environment: Environment,
    sampler: PolicySampler,
    config: GrpoConfig,
    *,
    team: Team,
    run_id: str,
    folder: str,
    on_step: OnGrpoStep,
    on_saved: OnGrpoSaved,
    leaving: Callable[[], bool] = lambda: False,
    on_note: OnNote = lambda note: None,
) -> None:
    """Train a fresh backend to the end of the run in `folder`.

    `on_step` gets the steps of earlier attempts first; `on_saved` gets each checkpoint's path
    after a step, on every rank, when it is whole. `leaving` is asked after every step without a
    checkpoint, with one answer on all ranks: whether to keep the state at once, because a machine
    is about to be taken away. `on_note` hears how far a warm start is.
    """
    files = _Files(backend, environment, config, team, run_id, folder)
    progress = files.resume()
    for metrics in progress.history:
        on_step(metrics)
    if progress.steps >= config.steps:
        return
    tokenizer = load_tokenizer(config.base_model)

    def keep() -> None:
        on_saved(files.keep(progress), progress.history[-1])

    def between() -> None:
        if leaving():
            files.stand_by(progress)

    if not files.has_any and config.warm_start.steps:
        warm_start(backend, tokenizer, environment.training, config, on_note)
    if not files.has_any and (config.warm_start.steps or config.on_alarm == "rollback"):
        files.keep(progress)
    # A process that starts again meets no name that stands for something else.
    name = f"{run_id}-{secrets.token_hex(2)}"
    source = RolloutSource(
        environment,
        sampler,
        tokenizer,
        config,
        name=name,
        files=RolloutFiles(folder),
        tick=team.waiting,
    )
    hooks = Hooks(on_step, keep, between, files.restore)
    with SharedSource(team, source, sampler) as shared:
        evaluates = len(environment.held_out) > 0
        grpo(backend, shared, config, run_id, progress, hooks, evaluates=evaluates)


class _Files:
    """The checkpoints of one run, as one rank reads and writes them."""

    def __init__(
        self,
        backend: TrainingBackend,
        environment: Environment,
        config: GrpoConfig,
        team: Team,
        run_id: str,
        folder: str,
    ) -> None:
        self._backend, self._digest, self._config = backend, environment.digest, config
        self._team, self._run_id, self._folder = team, run_id, folder
        self.has_any = False

    def resume(self) -> Progress:
        """Take the newest state, and where it stood."""
        path = self._team.once(lambda: latest_state(self._folder))
        if path is None:
            return Progress()
        cursor = read_cursor(path, GrpoMetrics)
        if cursor.data_digest != self._digest:
            raise UserError(
                f"{path}: was trained on another task than this run is given (its problems, its "
                "checker or its judge changed); use another run_id."
            )
        self._backend.load(path)
        self.has_any = True
        return Progress(cursor.history, **cursor.state)

    def restore(self) -> int:
        """Take weights and optimiser of the last checkpoint; returns its step."""
        path = self._team.once(lambda: latest_checkpoint(self._folder))
        if path is None:
            raise JobFailed(f"{self._folder} has no checkpoint that is whole to go back to.")
        self._backend.load(path)
        return step_of(path)

    def keep(self, progress: Progress) -> str:
        """Write a checkpoint; returns its path."""
        path = checkpoint_path(self._folder, progress.steps)
        self._write(path, progress)
        if self._team.leads:
            prune(self._folder, self._config.keep_last, progress.steps, _losses(progress))
            drop_standby(self._folder)
        return path

    def stand_by(self, progress: Progress) -> None:
        """Write a state that only this run goes on from."""
        self._write(standby_path(self._folder, progress.steps), progress)

    def _write(self, path: str, progress: Progress) -> None:
        label = Label(self._run_id, progress.steps + 1, progress.steps)
        state = {"position": progress.position, "rollbacks": progress.rollbacks}
        cursor = Cursor(progress.history, self._digest, state)
        with told_when_full(path):
            if self._team.leads:
                write_cursor(path, cursor)
                write_card(path, grpo_facts(self._config, unsaved(self._config, label), cursor))
            self._backend.save(path, label)


def _losses(progress: Progress) -> dict[int, float]:
    """By step, what is the lower the better the policy: held-out rewards with the other sign."""
    rewards = {row.step: row.eval_reward for row in progress.history}
    return {step: -reward for step, reward in rewards.items() if reward is not None}
