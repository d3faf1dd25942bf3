"""Samples and likelihoods of one adapter, computed by vllm."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import Any

from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest
from actors.lm.requests import Likelihood, Piece, Sample, SampleRequest
from actors.lm.sampling.row import Row
from serve.engines.vllm.api import Api
from serve.engines.vllm.arguments import prompt_arguments, sampling_arguments
from serve.engines.vllm.completion import PromptLogprobs, follow, last, prompt_logprobs, replay
from serve.engines.vllm.residents import Resident

Tell = Callable[[Piece], None] | None


class Caller:
    """Asks vllm's `generate`. `asked` counts the requests that are with it."""

    def __init__(self, llm: Any, api: Api, limits: Limits) -> None:
        self._llm, self._api, self._limits = llm, api, limits
        self._ids = count()
        self.asked = 0

    async def sample(
        self, request: SampleRequest, row: Row, resident: Resident, tell: Tell
    ) -> Sample:
        """A sample of a request that was checked; `row` is fed with it."""
        if request.max_tokens == 0:
            likeliest = request.prompt_logprobs or 0
            prompt = await self._prompt(resident, request.prompt_ids, likeliest)
            return Sample([], [], "", "length", resident.digest, prompt)
        in_pieces = request.json_schema is None and (tell is not None or bool(request.stop))
        arguments = sampling_arguments(request, self._api, self._limits, in_pieces=in_pieces)
        outputs = self._generate(request.prompt_ids, arguments, resident)
        if request.json_schema is None:
            output = await follow(outputs, row, tell)
        else:
            output = await last(outputs)
            await self._feed_afterwards(request, output.outputs[0].token_ids, row, resident, tell)
        if not row.done:
            raise RuntimeError(f"vllm ended a completion: {output.outputs[0].finish_reason}")
        sample = row.result()
        if request.prompt_logprobs is None:
            return sample
        prompt = prompt_logprobs(output, request.prompt_logprobs, resident.name)
        return replace(sample, prompt_logprobs=prompt)

    async def likelihood(
        self,
        resident: Resident,
        context: Sequence[int],
        continuation: Sequence[int],
    ) -> Likelihood:
        """The log-likelihood of one continuation; BrokenAdapter when it is not finite."""
        ids = [*context, *continuation]
        places = (await self._prompt(resident, ids, 1))[-len(continuation) :]
        told = [place for place in places if place is not None]
        greedy = [place.likeliest[0].token_id for place in told] == list(continuation)
        return Likelihood(sum(place.logprob for place in told), greedy)

    async def _feed_afterwards(
        self,
        request: SampleRequest,
        tokens: Sequence[int],
        row: Row,
        resident: Resident,
        tell: Tell,
    ) -> None:
        """Feed the row with what a grammar held to a schema.

        vllm's log-probabilities of such tokens are taken behind the grammar's mask. The model's
        own are read off the whole text, so that it comes in one piece.
        """
        ids = [*request.prompt_ids, *tokens]
        logprobs = await self._prompt(resident, ids, request.top_logprobs)
        replay(tokens, logprobs, row)
        if tell and (piece := row.take_piece()):
            tell(piece)

    async def _prompt(
        self, resident: Resident, ids: Sequence[int], likeliest: int
    ) -> PromptLogprobs:
        arguments = prompt_arguments(self._api, likeliest=likeliest)
        output = await last(self._generate(ids, arguments, resident))
        return prompt_logprobs(output, likeliest, resident.name)

    async def _generate(
        self, prompt_ids: Sequence[int], arguments: dict[str, Any], resident: Resident
    ) -> AsyncGenerator[Any, None]:
        """The outputs of one request; closing it early aborts the request."""
        lora = resident.lora
        try:
            params = self._api.SamplingParams(**arguments)
            outputs = self._llm.generate(
                {"prompt_token_ids": list(prompt_ids)},
                params,
                f"{next(self._ids)}",
                lora_request=lora and self._api.LoRARequest(**lora._asdict()),
            )
            self.asked += 1
            try:
                async with aclosing(outputs):
                    async for output in outputs:
                        yield output
            finally:
                self.asked -= 1
        except (ValueError, self._api.VLLMClientError) as error:  # from vllm's own checks
            raise BadRequest(f"vllm refuses it: {error}") from None
