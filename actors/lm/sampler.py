"""What a training loop asks of whoever samples from the policy that it trains.

The loop knows its versions by the names that `publish` gives back. Nobody but those versions may
answer: a sample tells the digest of the adapter that it came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.lm.adapter import Adapter
from actors.lm.requests import Question, Sample
from configs.sections import SamplingConfig


@dataclass(frozen=True, slots=True)
class Published:
    """A version of the policy that answers from now on, as its sampler holds it."""

    model: str  # what to ask for
    digest: str  # of the tensors that arrived
    probe: Sequence[float] = ()  # its log-likelihoods of the probe; none where there is no probe


@dataclass(frozen=True, slots=True)
class RemotePolicy:
    """A version that the sampler's own service keeps: where it is there, and what names it."""

    path: str
    digest: str


class PolicySampler(Protocol):
    """Samples from versions of one policy. Its methods belong to one event loop.

    A sampler that is away for a moment is waited for; what cannot be mended by waiting is a
    UserError or a JobFailed.
    """

    @property
    def probe(self) -> Question | None:
        """The question that `publish` answers; None where no log-likelihoods can be asked for."""
        ...

    async def open(self) -> None:
        """Be ready; versions that an earlier process published under any name go."""
        ...

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        """Make `name@version` answerable. The versions before it stay."""
        ...

    async def retire(self, model: str) -> None:
        """Take a version away once what was asked of it is answered."""
        ...

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        """The prompt completed n times, each with a seed of its own that `seed` determines.

        Log-probabilities are those of the distribution that was sampled from: after division by
        the temperature.
        """
        ...

    async def sleep(self) -> None:
        """Leave the device to the trainer, where the two share one."""
        ...

    async def wake(self) -> None:
        """Take it back."""
        ...

    async def close(self) -> None:
        """Give back what this process holds; the sampler itself lives on."""
        ...
