"""A training run on Ray Train, from the driver: workers, restarts after failures, news of them.

The run's folder is the truth about what was done: a worker that starts, for the first time or
again, goes on from the last whole checkpoint there. Ray is told of each checkpoint, but its own
notes (which a kill can tear) are not relied on and do not stay.
"""

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import fsspec
import pyarrow.fs
import ray
import ray.train
import ray.train.torch
import ray.train.v2.api.config as train_v2
from fsspec.implementations.local import LocalFileSystem
from ray._private.state import state as ray_state
from ray.train.v2.torch.torch_trainer import TorchTrainer

from actors.lm.sampler import PolicySampler
from actors.train.checkpoint import CHECKPOINTS, SavedCheckpoint, saved_checkpoints
from actors.train.gpu_shares import GpuShares, gpu_shares
from actors.train.grpo.environment import Environment
from actors.train.grpo.run import OnGrpoStep, OnNote
from actors.train.metrics import OnRow, OnStep
from actors.train.on_ray.failures import TellFailures, told
from actors.train.on_ray.feed import Follower, start_feed
from actors.train.on_ray.worker import Assignment, Program, work
from actors.train.on_torch.lora import check_lora
from actors.train.on_torch.process import run_grpo, run_sft
from actors.train.sft_loop import SftData
from configs.errors import UserError
from configs.grpo import GrpoConfig
from configs.sft import SftConfig
from configs.training import TrainingConfig

_log = logging.getLogger(__name__)

_RAY_NOTES = (".validate_storage_marker", "checkpoint_manager_snapshot.json")
_COLLECTIVE_TIMEOUT_S = 1800  # torch's own


def train_sft(
    config: SftConfig, data: SftData, *, run_id: str, folder: str, on_step: OnStep
) -> list[SavedCheckpoint]:
    """Train the adapter `run_id` to the end and return its checkpoints.

    `folder` is the run's own, absolute or a URL that every worker can write to. `on_step` is
    called in this process for every step, those of earlier attempts included. Ray is initialised.
    """
    rows = ray.put(data)  # a reference, so that each node gets them once
    return _fit(config, partial(_sft, config, rows), run_id, folder, on_step)


def _sft(config: SftConfig, rows: Any, *, on_note: OnNote, **given: Any) -> None:
    run_sft(config, ray.get(rows), **given)


def train_grpo(
    config: GrpoConfig,
    environment: Environment,
    sampler: PolicySampler,
    *,
    run_id: str,
    folder: str,
    on_step: OnGrpoStep,
    on_note: OnNote = lambda note: None,
) -> list[SavedCheckpoint]:
    """The same on rewards. `environment` and `sampler` travel to the workers.

    `on_note` hears what is done before the first step.
    """
    task = ray.put((environment, sampler))
    share = cluster_shares(config).worker
    program = partial(_grpo, config, task)
    return _fit(
        config,
        program,
        run_id,
        folder,
        on_step,
        gpu_share=share,
        beside_sampler=config.max_staleness > 0,
        on_note=on_note,
    )


def cluster_shares(config: GrpoConfig) -> GpuShares:
    """What of its GPUs the cluster can give to the workers and to the sampler's replicas."""
    server = config.server
    on_cpu = server.device == "cpu"
    replicas = 0 if on_cpu else server.max_replicas or server.num_replicas
    shared = config.share_gpus and not on_cpu
    return gpu_shares(_gpus(), config.worker_range, replicas, shared=shared)


def _grpo(config: GrpoConfig, task: Any, **given: Any) -> None:
    environment, sampler = ray.get(task)
    run_grpo(config, environment, sampler, **given)


def _fit(
    config: TrainingConfig,
    program: Program,
    run_id: str,
    folder: str,
    on_step: OnRow,
    *,
    gpu_share: float = 1.0,
    beside_sampler: bool = False,
    on_note: OnNote = lambda note: None,
) -> list[SavedCheckpoint]:
    """Run a program on as many workers as the config says, until it has come to its end."""
    check_lora(config.base_model, config.lora)
    feed = start_feed()
    hang_timeout_s = config.hang_timeout_s
    assignment = Assignment(program, run_id, folder, hang_timeout_s, feed, beside_sampler)
    trainer = _trainer(config, folder, assignment, gpu_share)
    _forget_ray_notes(folder)
    try:
        with (
            _environment(_ray_settings(config)),
            Follower(feed, on_step, _log.warning, trainer.stop, on_note),
        ):
            trainer.fit()
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise told(error, config.max_failures) from None
    finally:
        _forget_ray_notes(folder)
    return saved_checkpoints(folder)


def on_gpus(least: int, gpus: int) -> bool:
    """Whether workers get a GPU each; a cluster with GPUs, but fewer than `least`, is refused."""
    if 0 < gpus < least:
        raise UserError(
            f"num_workers={least}, but the cluster has {gpus} GPUs and every worker takes "
            f"one; give num_workers={gpus} or less."
        )
    return gpus > 0


def _gpus() -> int:
    """What the cluster has now, or may grow to."""
    most = ray_state.get_max_resources_from_cluster_config() or {}
    return int(max(ray.cluster_resources().get("GPU", 0), most.get("GPU", 0)))


class _Trainer(TorchTrainer):
    """Ray Train's own takes over ctrl-C and exits 0; here an interrupt stays an exception.

    The workers belong to the controller, which ends with the driver.
    """

    _controller: Any = None

    def _register_sigint_handler(self, controller: Any) -> None:
        self._controller = controller

    def stop(self) -> None:
        """End the workers now; `fit` then raises a RayError."""
        self._controller.abort.remote()


def _trainer(
    config: TrainingConfig, folder: str, assignment: Assignment, gpu_share: float
) -> _Trainer:
    fs, root = fsspec.core.url_to_fs(folder)
    remote = None if isinstance(fs, LocalFileSystem) else _arrow(fs)
    least, _ = config.worker_range
    return _Trainer(
        partial(work, assignment),
        torch_config=ray.train.torch.TorchConfig(
            # The watchdog comes first: it can say where a hang was.
            timeout_s=max(_COLLECTIVE_TIMEOUT_S, math.ceil(2 * config.hang_timeout_s))
        ),
        scaling_config=train_v2.ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=on_gpus(least, _gpus()),
            resources_per_worker={"GPU": gpu_share} if 0 < gpu_share < 1 else None,
        ),
        run_config=train_v2.RunConfig(
            name=CHECKPOINTS,
            storage_path=root,
            storage_filesystem=remote,
            failure_config=train_v2.FailureConfig(max_failures=config.max_failures),
            callbacks=[TellFailures(assignment.feed)],
            logging_config=train_v2.LoggingConfig(log_level="WARNING"),
        ),
    )


def _ray_settings(config: TrainingConfig) -> dict[str, str]:
    settings = {
        # Ray Train looks at its workers every 2 s, and a fit waits for several such looks.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        # A process that is stopped cannot end itself; Ray ends one that does not answer.
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(config.hang_timeout_s),
    }
    if not isinstance(config.num_workers, int):
        # Ray counts a node that left for up to 20 s; then fewer workers are to be tried at once.
        settings["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "20"
    return settings


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """What Ray Train reads from the driver's environment only; what a user set there stays."""
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


def _arrow(fs: fsspec.AbstractFileSystem) -> pyarrow.fs.FileSystem:
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))


def _forget_ray_notes(folder: str) -> None:
    fs, root = fsspec.core.url_to_fs(folder)
    for name in _RAY_NOTES:
        path = f"{root}/{CHECKPOINTS}/{name}"
        if fs.exists(path):
            fs.rm_file(path)
