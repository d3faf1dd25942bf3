"""A side of the bench as its parent sees it."""

from typing import Literal

from jobs.bench import side
from jobs.bench.serve.work import Measured, Start, Work

Name = Literal["ours", "peft", "continuous", "forward"]


class Side(side.Side):
    """A process that has loaded a base and adapters and is given work."""

    def __init__(self, name: Name, start: Start, core: int) -> None:
        super().__init__(f"jobs.bench.serve.{name}", start, core)

    def measured(self, work: Work) -> Measured:
        """What the work took."""
        return self.answer(work, Measured)
