"""Where the bench of fine-tuning runs: a base in a folder, rows of GSM8K, and the sides on them."""

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from configs.bench import BenchConfig
from configs.errors import UserError
from jobs.bench.figures import Skipped
from jobs.bench.model import DEEP, LLAMA_1B, build_base
from jobs.bench.sft.work import Measured, Row, Start, Took, Work
from jobs.bench.side import Side

Name = Literal["ours", "trl", "plain", "whole", "verbs"]
_ROWS = 1024  # as many as any figure takes
_NEEDED = "GSM8K's train.jsonl (https://github.com/openai/grade-school-math, MIT)"
INSTALL = ".venv/bin/pip install --constraint constraints.txt --editable '.[bench]'"


class Place:
    """What every figure of the bench is measured on."""

    def __init__(self, data_file: Path, folder: Path, device: str) -> None:
        self._data_file, self._folder, self._device = data_file, folder, device
        self._sides: dict[Name, Side] = {}
        # The last core, so that the first is left to whoever asks.
        self._core = (os.cpu_count() or 1) - 1 if device == "cpu" else None

    def needs(self, device: str) -> None:
        """Leave a figure out that is of another device."""
        if device != self._device:
            raise Skipped(f"it is measured with device={device}")

    @cached_property
    def start(self) -> Start:
        """What the sides load: a base whose tokenizer has read the data."""
        from jobs.bench.sft.rows import read_problems

        shape = DEEP if self._device == "cpu" else LLAMA_1B
        texts = (" ".join(problem) for problem in read_problems(self._data_file))
        base = build_base(self._folder / "base", shape, texts)
        return Start(base=base, device=self._device, folder=str(self._folder))

    def work(self, rows: int, batch_size: int) -> Work:
        """So many problems, the same ones every time."""
        return Work(rows=self._rows[:rows], batch_size=batch_size)

    def equal_rows(self, count: int, tokens: int) -> Work:
        """One batch of rows of so many tokens, all learned: problems without their borders."""
        ids = [token for row in self._rows for token in row.token_ids]
        places = range(0, count * (tokens + 1), tokens + 1)
        rows = [
            Row(token_ids=ids[i : i + tokens + 1], is_target=[True] * (tokens + 1)) for i in places
        ]
        return Work(rows=rows, batch_size=count)

    def measured(self, name: Name, work: Work) -> Measured:
        """What a side takes for some work. Its process goes on running, and is warm."""
        if name not in self._sides:
            self._sides[name] = self._side(name)
            self._sides[name].answer(self.work(2, 2), Measured)
        return self._sides[name].answer(work, Measured)

    def measured_first(self, name: Name, work: Work) -> Measured:
        """What a side takes in a process that has trained nothing before."""
        with closing(self._side(name)) as side:
            return side.answer(work, Measured)

    def took(self, name: Name, work: Work) -> Took:
        """How long a side takes, in a process of its own on any core."""
        with closing(Side(f"jobs.bench.sft.{name}", self.start, core=None)) as side:
            return side.answer(work, Took)

    @contextmanager
    def front(self) -> Iterator[str]:
        """The address of a server that trains and samples through Tinker's SDK."""
        from jobs.bench.serve.endpoint import Endpoint

        with closing(
            Endpoint(self.start.base, {}, str(self._folder), core=None, tinker=True)
        ) as server:
            yield server.url

    def close(self) -> None:
        """End all sides."""
        for side in self._sides.values():
            side.close()

    def _side(self, name: Name) -> Side:
        if name == "trl" and find_spec("trl") is None:
            raise Skipped(f"TRL is not installed; run: {INSTALL}")
        return Side(f"jobs.bench.sft.{name}", self.start, self._core)

    @cached_property
    def _rows(self) -> list[Row]:
        from actors.lm.base import load_tokenizer
        from jobs.bench.sft.rows import make_row, read_problems

        problems = list(read_problems(self._data_file))
        random.Random(0).shuffle(problems)
        tokenizer = load_tokenizer(self.start.base)
        return [make_row(tokenizer, problem) for problem in problems[:_ROWS]]


@contextmanager
def opened(config: BenchConfig) -> Iterator[Place]:
    """A place of this machine's own; UserError where the data is not."""
    if os.environ.get("RAY_ADDRESS"):
        raise UserError("The bench measures one machine: unset RAY_ADDRESS.")
    if config.data_dir is None:
        raise UserError(f"bench sft needs data_dir=, a folder with {_NEEDED}.")
    data_file = Path(config.data_dir).expanduser() / "train.jsonl"
    if not data_file.is_file():
        raise UserError(f"data_dir={config.data_dir}: holds no train.jsonl; give {_NEEDED}.")
    with tempfile.TemporaryDirectory(prefix="hothouse-bench-") as folder:
        place = Place(data_file, Path(folder), config.device)
        try:
            yield place
        finally:
            place.close()
