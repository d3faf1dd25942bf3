"""A training run on Ray Train: workers, restarts after failures, progress for the driver.

The run's folder is the truth about what was done: a worker that starts, for the first time or
again, goes on from the last whole checkpoint there. Ray is told of each checkpoint, but its own
notes (which a kill can tear) are not relied on and do not stay.
"""

import os
from collections.abc import Sequence
from typing import Any

import fsspec
import pyarrow.fs
import ray
import ray.train
import ray.train.torch
import ray.train.v2.api.config as train_v2
from fsspec.implementations.local import LocalFileSystem
from ray.train.v2.torch.torch_trainer import TorchTrainer
from transformers.utils import logging as transformers_logging

from actors.lm.base import load_skeleton
from actors.train.checkpoint import CHECKPOINTS, SavedCheckpoint, saved_checkpoints
from actors.train.datum import Datum
from actors.train.on_ray.feed import Follower, start_feed
from actors.train.on_torch.lora import resolve_targets
from actors.train.metrics import OnStep, StepMetrics
from actors.train.sft_loop import sft_schedule
from actors.train.on_torch.process import run_sft, share_threads
from configs.errors import JobFailed, UserError
from configs.sft import SftConfig

# Ray Train looks at its workers every 2 s, and a fit waits for several such looks.
_POLL_S = "0.2"
_RAY_NOTES = (".validate_storage_marker", "checkpoint_manager_snapshot.json")


def train_sft(
    config: SftConfig, datums: Sequence[Datum], *, run_id: str, folder: str, on_step: OnStep
) -> list[SavedCheckpoint]:
    """Train the adapter `run_id` to the end and return its checkpoints.

    `folder` is the run's own, absolute or a URL that every worker can write to. `on_step` is
    called in this process for every step, those of earlier attempts included. Ray is initialised.
    """
    resolve_targets(load_skeleton(config.base_model), config.lora.targets)
    feed = start_feed()
    arguments = {
        "config": config,
        "datums": ray.put(list(datums)),
        "run_id": run_id,
        "folder": folder,
        "feed": feed,
    }
    trainer = _trainer(config, folder, arguments)
    _forget_ray_notes(folder)
    try:
        with Follower(feed, on_step):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        _raise_fault(feed)
        raise JobFailed(
            f"Training failed more than max_failures={config.max_failures} times; its checkpoints "
            f"are kept and the same command continues it. The last failure:\n{error}"
        ) from None
    finally:
        _forget_ray_notes(folder)
    _raise_fault(feed)
    saved = saved_checkpoints(folder)
    if not saved or saved[-1].step < sft_schedule(config, len(datums)).total_steps:
        raise JobFailed("Training was interrupted; the same command continues it.")
    return saved


class _Trainer(TorchTrainer):
    """Ray Train's own takes over ctrl-C and exits 0; here an interrupt stays an exception.

    The workers belong to the controller, which ends with the driver.
    """

    def _register_sigint_handler(self, controller: Any) -> None:
        pass


def worker(arguments: dict[str, Any]) -> None:
    """What each worker runs; nothing after an error of the user's in an earlier attempt."""
    feed = arguments["feed"]
    if ray.get(feed.fault.remote()) is not None:
        return
    transformers_logging.disable_progress_bar()
    context = ray.train.get_context()
    share_threads(context.get_local_world_size())
    leads = context.get_world_rank() == 0

    def on_step(metrics: StepMetrics) -> None:
        if leads:
            feed.push.remote(metrics)

    try:
        run_sft(
            arguments["config"],
            ray.get(arguments["datums"]),
            run_id=arguments["run_id"],
            folder=arguments["folder"],
            device=ray.train.torch.get_device(),
            on_step=on_step,
            on_saved=_report,
        )
    except UserError as error:
        ray.get(feed.give_up.remote(str(error)))
        raise
    if leads:
        ray.get(feed.fault.remote())  # calls arrive in order: now every step has been pushed


def on_gpus(num_workers: int, gpus: int) -> bool:
    """Whether the workers get a GPU each; a cluster that has GPUs, but too few, is refused."""
    if 0 < gpus < num_workers:
        raise UserError(
            f"num_workers={num_workers}, but the cluster has {gpus} GPUs and every worker takes "
            f"one; give num_workers={gpus} or less."
        )
    return gpus > 0


def _report(path: str, metrics: StepMetrics) -> None:
    """Tell Ray Train of a checkpoint that already stands where it belongs; a barrier."""
    storage = ray.train.get_context().get_storage()
    _, stripped = fsspec.core.url_to_fs(path)
    ray.train.report(
        {"step": metrics.step, "loss": metrics.loss},
        checkpoint=ray.train.Checkpoint(stripped, filesystem=storage.storage_filesystem),
        checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
    )


def _trainer(config: SftConfig, folder: str, arguments: dict[str, Any]) -> _Trainer:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _POLL_S)
    fs, root = fsspec.core.url_to_fs(folder)
    remote = None if isinstance(fs, LocalFileSystem) else _arrow(fs)
    return _Trainer(
        worker,
        train_loop_config=arguments,
        scaling_config=train_v2.ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=on_gpus(config.num_workers, int(ray.cluster_resources().get("GPU", 0))),
        ),
        run_config=train_v2.RunConfig(
            name=CHECKPOINTS,
            storage_path=root,
            storage_filesystem=remote,
            failure_config=train_v2.FailureConfig(max_failures=config.max_failures),
            logging_config=train_v2.LoggingConfig(log_level="WARNING"),
        ),
    )


def _arrow(fs: fsspec.AbstractFileSystem) -> pyarrow.fs.FileSystem:
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))


def _forget_ray_notes(folder: str) -> None:
    fs, root = fsspec.core.url_to_fs(folder)
    for name in _RAY_NOTES:
        path = f"{root}/{CHECKPOINTS}/{name}"
        if fs.exists(path):
            fs.rm_file(path)


def _raise_fault(feed: Any) -> None:
    message = ray.get(feed.fault.remote())
    if message is not None:
        raise UserError(message)
