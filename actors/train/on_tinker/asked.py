"""What was asked of the service and is waited for, with our errors and an end to the patience."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import tinker
from tinker.lib.chunked_fwdbwd_helpers import combine_fwd_bwd_output_results

from actors.train.backend import Passed, Pending
from actors.train.on_tinker.faults import told
from actors.train.on_tinker.translate import passed

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Asked(Generic[S, T]):
    """A `Pending` of the SDK. ServiceFailed when it is not answered in `patience_s` of waiting."""

    doing: str
    future: tinker.APIFuture[S]
    read: Callable[[S], T]
    patience_s: float

    def result(self) -> T:
        """Wait for it."""
        with told(self.doing):
            answer = self.future.result(timeout=self.patience_s)
        return self.read(answer)


@dataclass(frozen=True)
class Parts:
    """A pass in parts, in their order; each has the whole patience once those before it are in."""

    parts: Sequence[Pending[tinker.ForwardBackwardOutput]]

    def result(self) -> Passed:
        """Wait for all of them."""
        return passed(combine_fwd_bwd_output_results([part.result() for part in self.parts]))
