"""Where the bench of reinforcement learning runs: a base in a folder, and the sides on it."""

import os
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
from jobs.bench.grpo.work import Measured, Start, Work
from jobs.bench.model import DEEP, build_base, made_up_texts
from jobs.bench.sft.place import INSTALL
from jobs.bench.side import Side

Name = Literal["ours", "trl"]
_QUESTIONS, _FEWEST_WORDS, _MOST_WORDS = 16, 6, 18
_GROUP, _NEW_TOKENS = 8, 48
_WARM_STEPS, _STEPS = 1, 3
_SHARPNESS = 4.0  # no answer ends early


class Place:
    """What every figure of the bench is measured on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.work = Work(
            questions=made_up_texts(_QUESTIONS, _FEWEST_WORDS, _MOST_WORDS),
            group_size=_GROUP,
            max_tokens=_NEW_TOKENS,
            warm_steps=_WARM_STEPS,
            steps=_STEPS,
        )

    @cached_property
    def base(self) -> str:
        """The folder of the base."""
        return build_base(self._folder / "base", DEEP, made_up_texts(200, 100, 100), _SHARPNESS)

    def measured(self, name: Name, *works: Work, one_thread: bool) -> list[Measured]:
        """What a side takes for one work after another, all alone on the machine."""
        if name == "trl" and find_spec("trl") is None:
            raise Skipped(f"TRL is not installed; run: {INSTALL}")
        start = Start(base=self.base, folder=str(self._folder), one_thread=one_thread)
        with closing(Side(f"jobs.bench.grpo.{name}", start, core=None)) as side:
            return [_whole(work, side.answer(work, Measured)) for work in works]


def _whole(work: Work, measured: Measured) -> Measured:
    if measured.tokens != work.tokens:
        raise RuntimeError(f"{measured.tokens} of {work.tokens} tokens were sampled in a step")
    return measured


@contextmanager
def opened(config: BenchConfig) -> Iterator[Place]:
    """A place of this machine's own; it is gone when the bench ends."""
    if os.environ.get("RAY_ADDRESS"):
        raise UserError("The bench measures one machine: unset RAY_ADDRESS.")
    with tempfile.TemporaryDirectory(prefix="hothouse-bench-") as folder:
        yield Place(Path(folder))
