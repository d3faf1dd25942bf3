"""A replica: the base model, its engine and its adapters in one process of the cluster.

Errors that a caller can cause go back as values: thrown, they would fill the log with traces and
reach the caller wrapped in Ray's own types.
"""

from typing import Any

from actors.lm.engine import Engine, Limits
from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import BASE, SampleRequest
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.calls import Answer, Call, Completion, Description, Refusal, choice_seed, fingerprint
from serve.engines import ENGINES
from serve.prompts import encode_prompt
from serve.registry import resolve


class Replica:
    """Answers calls with an engine.

    A replica that cannot start says why in `describe`; if it failed instead, Serve would start it
    again and again.
    """

    async def __init__(
        self, base_name: str, base_names: list[str], server: ServerConfig, shelf: Any
    ) -> None:
        self._base_name, self._base_names = base_name, base_names
        self._problem: str | None = None
        try:
            self._engine: Engine = ENGINES["torch"](base_name, server)
        except UserError as error:
            self._problem = str(error)
            return
        for name, adapter in (await shelf.everything.remote()).items():
            try:
                await self._engine.load(name, adapter)
            except RefusedAdapter as error:
                self._problem = f'adapter "{name}" cannot be served: {error}.'
                return

    async def describe(self) -> Description:
        """What can be asked here."""
        adapters = {} if self._problem is not None else self._engine.adapters()
        return Description(self._problem, self._base_name, self._base_names, adapters)

    async def answer(self, call: Call) -> Answer | Refusal:
        """Complete a prompt n times."""
        try:
            return await self._answer(call)
        except (UnknownAdapter, BadRequest, BrokenAdapter) as error:
            return Refusal(error)

    async def _answer(self, call: Call) -> Answer:
        digests, limits = self._engine.adapters(), self._engine.limits
        name = resolve(call.model, list(digests), self._base_names)
        prompt = encode_prompt(limits.tokenizer, call)
        requests = [_request(call, name, prompt, limits, choice) for choice in range(call.n)]
        samples = await self._engine.sample(requests)
        completions = [
            Completion(sample, _token_texts(limits, sample.token_ids) if call.token_texts else [])
            for sample in samples
        ]
        names = fingerprint(digests[BASE], samples[0].adapter_digest)
        return Answer(name, names, len(prompt), completions)


def _request(
    call: Call, name: str, prompt: list[int], limits: Limits, choice: int
) -> SampleRequest:
    room = max(1, limits.context_tokens - len(prompt))  # a full context is told as such
    return SampleRequest(
        adapter=name,
        prompt_ids=prompt,
        max_tokens=room if call.max_tokens is None else call.max_tokens,
        temperature=call.temperature,
        top_p=call.top_p,
        stop=call.stop,
        seed=choice_seed(call.seed, choice),
    )


def _token_texts(limits: Limits, token_ids: list[int]) -> list[str]:
    return [str(limits.tokenizer.decode([token])) for token in token_ids]
