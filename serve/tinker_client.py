"""What jobs ask the Tinker service: conversations with adapters that it holds.

The same face as `AdapterClient`'s, by names that the caller gave. Rendering and reading are done
here, with the tokenizer of the base; the service sees token ids only.
"""

from collections.abc import Mapping, Sequence

import tinker
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.messages import Message
from actors.lm.refusals import BadRequest
from actors.lm.requests import Sample, TokenLogprob
from actors.lm.sampling.text import decode
from actors.train.on_tinker.faults import Refused, told
from actors.train.on_tinker.service import Service
from actors.train.remote import TINKER
from configs.errors import UserError
from configs.sections import SamplingConfig
from serve.prompts import encode_prompt

SEEDS = 2**31  # what the service takes


class TinkerClient:
    """Asks samplers of the service, each by its name."""

    def __init__(
        self,
        samplers: Mapping[str, tinker.SamplingClient],
        digests: Mapping[str, str],
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self._samplers, self._digests = samplers, digests
        self._tokenizer = tokenizer

    async def chat(
        self,
        adapter: str,
        messages: Sequence[Message],
        sampling: SamplingConfig,
        seed: int | None = None,
    ) -> Sample:
        """The assistant's next turn."""
        prompt = tinker.ModelInput.from_ints(encode_prompt(self._tokenizer, list(messages)))
        params = tinker.SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=stops_of(self._tokenizer, sampling.stop),
            seed=None if seed is None else seed % SEEDS,
        )
        try:
            with told(f"sampling from {adapter}"):
                answer = await self._samplers[adapter].sample(prompt, 1, params)
        except Refused as refusal:
            raise BadRequest(str(refusal)) from None
        return sample_of(
            self._tokenizer, answer.sequences[0], sampling.stop, self._digests[adapter]
        )

    def adapters(self) -> dict[str, str]:
        """Name -> digest, which is one of the adapter's place on the service."""
        return dict(self._digests)


def stops_of(tokenizer: PreTrainedTokenizerBase, strings: Sequence[str]) -> list[str] | None:
    """What ends an answer. None is the model's own end of turn, which a list would do away with."""
    return [*strings, str(tokenizer.eos_token)] if strings else None


def sample_of(
    tokenizer: PreTrainedTokenizerBase,
    given: tinker.SampledSequence,
    stop: Sequence[str],
    digest: str,
) -> Sample:
    """What the service said, as an engine of ours would have."""
    text = decode(tokenizer, given.tokens)
    ends = [place for string in stop if (place := text.find(string)) >= 0]
    logprobs = [TokenLogprob(logprob, ()) for logprob in given.logprobs or ()]
    reason = "length" if given.stop_reason == "length" else "stop"
    return Sample(given.tokens, logprobs, text[: min(ends, default=None)], reason, digest)


def open_tinker_client(
    service: Service,
    base_model: str,
    paths: Mapping[str, str],
    tokenizer: PreTrainedTokenizerBase,
) -> TinkerClient:
    """A client for names whose paths are tinker:// ones of `base_model`, or it itself.

    UserError when the service has no such sampler, or it is one of another base: to that one the
    tokens of this tokenizer would mean something else.
    """
    samplers = {}
    for name, path in paths.items():
        is_path = path.startswith(TINKER)
        with told(f"opening {path}", absent=f"{path}: not on the service."):
            samplers[name] = service.clients.create_sampling_client(
                model_path=path if is_path else None, base_model=None if is_path else path
            ).result()
        base = samplers[name].get_base_model()
        if base != base_model:
            raise UserError(f"{path}: adapts {base}, not {base_model}; give base_model={base}.")
    digests = {name: service.digest(path) for name, path in paths.items()}
    return TinkerClient(samplers, digests, tokenizer)
