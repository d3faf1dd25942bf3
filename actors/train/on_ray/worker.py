"""What each worker of a training run does: the run's own loop, inside Ray Train.

Ray is told of checkpoints and asked whether a node is about to be taken away; the driver is told
of steps through the feed. A worker that hangs ends itself, so that Ray sees it fail.
"""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import fsspec
import ray
import ray.train
import ray.train.torch
import torch
from transformers.utils import logging as transformers_logging

from actors.train.metrics import MetricsRow, OnRow
from actors.train.on_ray.feed import Sender
from actors.train.on_ray.gauges import show_step
from actors.train.on_ray.watchdog import Watchdog
from actors.train.on_torch.process import share_threads
from configs.errors import JobFailed, UserError

_LAST_WORD_S = 10.0


class Program(Protocol):
    """A run from its last checkpoint to its end, on one of the processes that share it."""

    def __call__(
        self,
        *,
        run_id: str,
        folder: str,
        device: torch.device,
        on_step: OnRow,
        on_saved: Callable[[str, Any], None],
        on_progress: Callable[[], None],
        leaving: Callable[[], bool],
        on_note: Callable[[str], None],
    ) -> None:
        """Calls back as `actors.train.on_torch.process` says."""
        ...


class Assignment(NamedTuple):
    """What a worker is given."""

    program: Program
    run_id: str
    folder: str
    hang_timeout_s: float
    feed: Any  # a Feed
    beside_sampler: bool = False  # which computes at the same time


def work(assignment: Assignment) -> None:
    """Train this worker's share to the end; nothing after an error that no retry mends."""
    feed = assignment.feed
    if ray.get(feed.fault.remote()) is not None:
        return
    transformers_logging.disable_progress_bar()
    context = ray.train.get_context()
    share_threads(context.get_local_world_size(), beside_sampler=assignment.beside_sampler)
    leads = context.get_world_rank() == 0
    sender = Sender(feed.push.remote)
    notices = Notices()
    watchdog = Watchdog(assignment.hang_timeout_s, on_hang=partial(_end, feed))

    def on_step(metrics: MetricsRow) -> None:
        watchdog.tick(metrics.step)
        if leads:
            sender.add(metrics)
            show_step(assignment.run_id, metrics)

    def on_saved(path: str, metrics: MetricsRow) -> None:
        sender.flush()
        _report(path, metrics)
        watchdog.tick()

    def on_note(note: str) -> None:
        if leads:
            feed.note.remote(note)

    try:
        with watchdog, sender:
            assignment.program(
                run_id=assignment.run_id,
                folder=assignment.folder,
                device=ray.train.torch.get_device(),
                on_step=on_step,
                on_saved=on_saved,
                on_progress=watchdog.tick,
                leaving=notices.is_new,
                on_note=on_note,
            )
    except (UserError, JobFailed) as error:
        # The driver stops the run. Raised here, Ray would take it for a failure and start again.
        feed.give_up.remote(error)
    ray.get(feed.fault.remote())  # calls arrive in order: now all of it is there


class Notices:
    """Ray's word that a node with one of the workers will be taken away."""

    def __init__(self) -> None:
        self._known: ray.train.PreemptionInfo | None = None

    def is_new(self) -> bool:
        """Whether there is a notice not seen before; every rank has to ask, all get one answer."""
        heard = ray.train.get_preemption_info()
        new = heard is not None and heard != self._known
        self._known = heard
        return new


def _report(path: str, metrics: MetricsRow) -> None:
    """Tell Ray Train of a checkpoint that already stands where it belongs; a barrier."""
    storage = ray.train.get_context().get_storage()
    _, stripped = fsspec.core.url_to_fs(path)
    ray.train.report(
        metrics.fields(),
        checkpoint=ray.train.Checkpoint(stripped, filesystem=storage.storage_filesystem),
        checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
    )


def _end(feed: Any, message: str) -> None:
    """End this process at once: its threads may be stuck where no exception reaches them."""
    with contextlib.suppress(ray.exceptions.RayError):  # told or not, it must end
        ray.get(feed.failed.remote(message), timeout=_LAST_WORD_S)
    os._exit(1)
