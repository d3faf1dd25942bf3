"""Where the bench of the server runs: a base and adapters in a folder, and the sides on them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from configs.bench import BenchConfig
from configs.errors import UserError
from jobs import console
from jobs.bench.figures import Skipped
from jobs.bench.model import DEEP, build_adapter, build_base, made_up_texts
from jobs.bench.serve.side import Name, Side
from jobs.bench.serve.work import Row, Start, adapter_name, mixed_rows

if TYPE_CHECKING:
    from jobs.bench.serve.endpoint import Endpoint

ADAPTERS = 64


class Place:
    """What every figure of the bench is measured on."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self._device = folder, device
        self._sides: dict[tuple[Name, int], Side] = {}
        self._seed = 0
        # The last core, so that the first is left to whoever asks.
        self._core = (os.cpu_count() or 1) - 1

    @cached_property
    def base(self) -> str:
        """The folder of the base model. Every token of it has a text."""
        return build_base(self.folder / "base", DEEP, made_up_texts(200, 100, 100))

    @cached_property
    def adapters(self) -> list[str]:
        """The folders of the adapters, of rank 8 on every linear layer."""
        console.say(f"Building a model and {ADAPTERS} adapters.")
        return [build_adapter(self.folder / f"a{i}", self.base, i) for i in range(ADAPTERS)]

    def rows(self, count: int, adapters: int) -> list[Row]:
        """Rows of mixed lengths over so many adapters (0: the base), other ones every time."""
        self._seed += 1
        return mixed_rows(count, adapters, DEEP.vocabulary, self._seed)

    def side(self, name: Name, adapters: int) -> Side:
        """A side with so many adapters. It goes on running, and is warm."""
        if (name, adapters) not in self._sides:
            start = Start(
                base=self.base, adapters=tuple(self.adapters[:adapters]), device=self._device
            )
            self._sides[name, adapters] = Side(name, start, self._core)
        return self._sides[name, adapters]

    @contextmanager
    def endpoint(self, adapters: int) -> Iterator["Endpoint"]:
        """A server with so many adapters loaded."""
        if self._device != "cpu":
            raise Skipped("the endpoint is measured on CPUs")
        from jobs.bench.serve.endpoint import Endpoint

        given = {adapter_name(i): path for i, path in enumerate(self.adapters[:adapters])}
        endpoint = Endpoint(self.base, given, str(self.folder), self._core)
        try:
            yield endpoint
        finally:
            endpoint.close()

    def close(self) -> None:
        """End all sides."""
        for side in self._sides.values():
            side.close()


@contextmanager
def opened(config: BenchConfig) -> Iterator[Place]:
    """A place of this machine's own; it is gone when the bench ends."""
    if os.environ.get("RAY_ADDRESS"):
        raise UserError("The bench measures one machine: unset RAY_ADDRESS.")
    with tempfile.TemporaryDirectory(prefix="hothouse-bench-") as folder:
        place = Place(Path(folder), config.device)
        try:
            yield place
        finally:
            place.close()
