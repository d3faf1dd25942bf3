"""Rollouts from the Tinker service: a training loop's sampler on versions that it keeps itself."""

import logging
from collections.abc import Sequence

import tinker
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.adapter import Adapter
from actors.lm.requests import Question, Sample
from actors.lm.sampler import Published, RemotePolicy
from actors.train.on_tinker.faults import is_not_offered, told
from actors.train.on_tinker.service import Service
from configs.sections import SamplingConfig
from serve.probe import probe_question
from serve.tinker_client import SEEDS, sample_of, stops_of

_log = logging.getLogger(__name__)


class TinkerSampler:
    """`actors.lm.sampler.PolicySampler` on the service.

    Its SDK asks again what may pass; what it gives up on is a ServiceFailed, as in training, and a
    refusal a UserError. Versions are let go of by the service itself, a day after they were saved.
    """

    def __init__(
        self, service: Service, base_model: str, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._service, self._base_model, self._tokenizer = service, base_model, tokenizer
        self._versions: dict[str, tuple[tinker.SamplingClient, RemotePolicy]] = {}
        self.probe: Question | None = probe_question(tokenizer)

    async def open(self) -> None:
        """See whether the service scores; versions of earlier processes go by themselves."""
        with told(f"opening a sampler of {self._base_model}"):
            clients = self._service.clients
            base = await clients.create_sampling_client_async(base_model=self._base_model)
            try:
                await self._answers(base)
            except tinker.TinkerError as error:
                if not is_not_offered(error):
                    raise
                self.probe = None
                _log.warning(
                    "The service does not score: nothing proves that it samples from what was "
                    "trained but ratio and kl of each step, whose alarms therefore end the run."
                )

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        """Open a sampler of a version's path, and see that what is there is what was saved."""
        if not isinstance(policy, RemotePolicy):
            raise TypeError("the service samples from its own paths, not from adapters")
        full = f"{name}@{version}"
        with told(f"opening {policy.path}", absent=f"{policy.path}: not on the service."):
            clients = self._service.clients
            sampler = await clients.create_sampling_client_async(model_path=policy.path)
            probe = await self._answers(sampler)
        self._versions[full] = sampler, policy
        return Published(full, self._service.digest(policy.path), probe)

    async def retire(self, model: str) -> None:
        """Forget a version; what was asked of it is answered."""
        del self._versions[model]

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        """The prompt completed n times."""
        sampler, policy = self._versions[model]
        params = tinker.SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=stops_of(self._tokenizer, sampling.stop),
            seed=seed % SEEDS,
        )
        with told(f"sampling from {policy.path}"):
            prompt = tinker.ModelInput.from_ints(list(prompt_ids))
            answer = await sampler.sample_async(prompt, n, params)
        return [
            sample_of(self._tokenizer, one, sampling.stop, policy.digest)
            for one in answer.sequences
        ]

    async def sleep(self) -> None:
        """The service's devices are its own."""

    async def wake(self) -> None:
        """As with `sleep`."""

    async def close(self) -> None:
        """The session is closed with the service."""
        self._versions.clear()

    async def _answers(self, sampler: tinker.SamplingClient) -> list[float]:
        """Its log-likelihoods of the probe's continuations, none where there is no probe."""
        if self.probe is None:
            return []
        context, answers = list(self.probe.context_ids), []
        for continuation in self.probe.continuations:
            whole = tinker.ModelInput.from_ints([*context, *continuation])
            logprobs = await sampler.compute_logprobs_async(whole)
            answers.append(sum(one or 0.0 for one in logprobs[len(context) :]))
        return answers
