"""Where a run's metrics go besides metrics.jsonl: TensorBoard's files, Weights & Biases.

Both get each step once, when it was done for the first time, and both continue what an earlier
try of the run began.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Protocol
from uuid import uuid4

from actors.store.run import Run
from actors.train.metrics import MetricsRow
from configs.errors import UserError
from configs.training import TrainingConfig


class Tracker(Protocol):
    """Something that metrics are sent to."""

    def add(self, metrics: MetricsRow) -> None:
        """One step."""
        ...

    def close(self, failed: bool) -> None:
        """There are no more, because training came to its end or because it failed."""
        ...


class TensorBoard:
    """Event files under `runs/{run_id}/tensorboard`: `tensorboard --logdir runs` shows them."""

    def __init__(self, run: Run, config: TrainingConfig) -> None:
        if not run.storage.is_local:
            raise UserError(
                f"report_to=[tensorboard] writes to a disk, and storage={config.storage} is none; "
                "leave it out: metrics.jsonl has the same numbers."
            )
        from tensorboardX import SummaryWriter  # Ray Train brings it

        self._writer = SummaryWriter(
            run.storage.path(f"{run.folder}/tensorboard"),
            flush_secs=1,  # a kill takes no more along
            filename_suffix=f".{uuid4().hex}",  # the second alone would name it
        )

    def add(self, metrics: MetricsRow) -> None:
        """One scalar per field."""
        for name, value in _measured(metrics).items():
            self._writer.add_scalar(f"train/{name}", value, metrics.step)

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self._writer.close()


class WandB:
    """A run of the project "hothouse"; key, mode and the rest come from WANDB_* variables."""

    def __init__(self, run: Run, config: TrainingConfig) -> None:
        wandb = _wandb()
        folder = run.storage.path(run.folder) if run.storage.is_local else None
        try:
            self._run = wandb.init(
                project="hothouse",
                id=run.run_id,
                name=run.run_id,
                resume="allow",
                dir=folder,
                config=config.model_dump(mode="json"),
                settings=wandb.Settings(silent=True),
            )
        except wandb.errors.Error as error:
            raise UserError(
                f"report_to=[wandb]: {error}. Set WANDB_API_KEY, or WANDB_MODE=offline."
            ) from None

    def add(self, metrics: MetricsRow) -> None:
        """One row."""
        self._run.log(_measured(metrics), step=metrics.step)

    def close(self, failed: bool) -> None:
        """Send what is left, and whether the run is finished or failed."""
        self._run.finish(exit_code=int(failed))


_TRACKERS: dict[str, type[TensorBoard] | type[WandB]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


def check_trackers(names: Sequence[str]) -> None:
    """UserError when one cannot be had; cheap, and so asked before anything is done."""
    if "wandb" in names:
        _wandb()


@contextmanager
def trackers(run: Run, config: TrainingConfig) -> Iterator[list[Tracker]]:
    """Those that `report_to` names, for the length of a block."""
    with ExitStack() as opened:
        made: list[Tracker] = []
        for name in dict.fromkeys(config.report_to):
            made.append(_TRACKERS[name](run, config))
            opened.push(partial(_close, made[-1]))
        yield made


def _close(tracker: Tracker, kind: type[BaseException] | None, *_: object) -> None:
    """As a block's end calls it: `kind` is what the block raised."""
    tracker.close(failed=kind is not None)


def _measured(metrics: MetricsRow) -> dict[str, Any]:
    return {name: value for name, value in metrics.fields().items() if name != "step"}


def _wandb() -> Any:
    try:
        return import_module("wandb")
    except ImportError:
        raise UserError(
            "report_to=[wandb] needs a package that is not installed: "
            ".venv/bin/pip install -c constraints.txt -e '.[wandb]'."
        ) from None
