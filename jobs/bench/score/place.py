"""Where the bench of scoring runs: its files, and a folder with the models that it builds."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import process_time
from typing import NamedTuple

from actors.lm.requests import Likelihood
from configs.bench import BenchConfig
from configs.errors import UserError
from jobs.bench.machine import one_core
from jobs.bench.model import Shape, build_adapter, build_base
from jobs.bench.score.tasks import Asked, asked

_FILES = 16
_NEEDED = (
    "the 16 files of advanced-ai-risk/human_generated_evals "
    "(https://github.com/anthropics/evals, CC BY 4.0)"
)


class Answered(NamedTuple):
    """What one side said, and what that took."""

    answers: list[list[Likelihood]]  # by adapter
    cpu_s: float


class Place:
    """What every figure of the bench is measured on. What it builds is built once."""

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        self._files, self._folder = files, folder
        self.asked = cache(self._asked)
        self.base = cache(self._base)
        self.adapters = cache(self._adapters)

    def peer(self, asked: Asked, base: str, adapters: Sequence[str] = ()) -> Answered:
        """What lm-eval takes."""
        from jobs.bench.score.peer import Peer

        return _answered(Peer(base, adapters).answers, asked)

    def ours(self, asked: Asked, base: str, adapters: Sequence[str] = ()) -> Answered:
        """What the torch engine takes."""
        from jobs.bench.score.ours import Ours

        with Ours(base, adapters) as ours:
            return _answered(ours.answers, asked)

    def _asked(self, *names: str) -> Asked:
        """The requests of the files of these names; of all where there are none."""
        files = [file for file in self._files if not names or file.stem in names]
        return asked(files, self._folder / "cache")

    def _base(self, shape: Shape) -> str:
        """The folder of a base model."""
        texts = (instance.args[0] for instance in self.asked().instances[::4])
        return build_base(self._folder / f"hidden-{shape.hidden}", shape, texts)

    def _adapters(self, base: str, count: int) -> tuple[str, ...]:
        """Folders of adapters for it."""
        folder = self._folder / "adapters"
        return tuple(build_adapter(folder / f"adapter-{i}", base, i) for i in range(count))


def _answered(answer: Callable[[Asked], list[list[Likelihood]]], asked: Asked) -> Answered:
    start = process_time()
    answers = answer(asked)
    return Answered(answers, process_time() - start)


@contextmanager
def opened(config: BenchConfig) -> Iterator[Place]:
    """The place; UserError where the files are not."""
    if config.data_dir is None:
        raise UserError(f"bench score needs data_dir=, a folder with {_NEEDED}.")
    files = sorted(Path(config.data_dir).expanduser().glob("*.jsonl"))
    if len(files) != _FILES:
        raise UserError(f"data_dir={config.data_dir}: holds {len(files)} *.jsonl, not {_NEEDED}.")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="hothouse-bench-") as folder, one_core():
        yield Place(files, Path(folder))
