"""Where the steps of a run are kept: metrics.jsonl always, trackers where the config names them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from actors.store.run import Run
from actors.train.metrics import MetricsFile, MetricsRow
from configs.training import TrainingConfig
from jobs.training.trackers import trackers


@contextmanager
def kept_metrics(run: Run, config: TrainingConfig) -> Iterator[Callable[[MetricsRow], bool]]:
    """What keeps a step, for the length of a block; it answers False for one that is kept already.

    A block that ends without an error has finished the run.
    """
    file = MetricsFile(run.storage, _name(run))
    with trackers(run, config) as told:

        def keep(step: MetricsRow) -> bool:
            is_first = step.step > file.last_step
            if not file.add(step):
                return False
            for tracker in told if is_first else ():  # some take no step twice
                tracker.add(step)
            return True

        yield keep
    file.close()


def complete_metrics(run: Run, config: TrainingConfig, history: Sequence[MetricsRow]) -> None:
    """Keep the steps of a finished run that a kill after its last checkpoint took along."""
    if MetricsFile(run.storage, _name(run)).last_step < len(history):
        with kept_metrics(run, config) as keep:
            for step in history:
                keep(step)


def has_metrics(run: Run) -> bool:
    """Whether a step of the run was kept."""
    return run.storage.exists(_name(run))


def _name(run: Run) -> str:
    return f"{run.folder}/metrics.jsonl"
