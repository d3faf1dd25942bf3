"""A call as an engine's requests, and the engine's samples as the call's answer."""

from collections.abc import Mapping, Sequence

from actors.lm.engine import Limits
from actors.lm.requests import BASE, Piece, Sample, SampleRequest
from serve.calls import Answer, Call, Choice, Delta, choice_seed, fingerprint
from serve.prompts import encode_prompt
from serve.tokens import TokenTexts


class Asked:
    """One call to an adapter by its full name: prompt by prompt, n choices of each."""

    def __init__(self, call: Call, name: str, digests: Mapping[str, str], limits: Limits) -> None:
        self._call, self._limits = call, limits
        self.model, self.digest = name, digests[name]
        self.fingerprint = fingerprint(digests[BASE], self.digest)
        self._prompts = [encode_prompt(limits.tokenizer, prompt) for prompt in call.prompts]

    def requests(self) -> list[SampleRequest]:
        """What the engine is asked, choice by choice."""
        return [
            self._request(prompt, choice)
            for prompt in self._prompts
            for choice in range(self._call.n)
        ]

    def delta(self, pieces: Sequence[tuple[int, Piece]], texts: TokenTexts) -> Delta:
        """What choices gained."""
        if self._call.logprobs is None:
            return Delta(list(pieces))
        told = {}
        for _, piece in pieces:
            told |= texts.told(piece.token_ids, piece.logprobs)
        return Delta(list(pieces), told)

    def answer(self, samples: Sequence[Sample], texts: TokenTexts) -> Answer:
        """All of it."""
        choices, told = [], {}
        for i, sample in enumerate(samples):
            prompt = self._prompts[i // self._call.n]
            choices.append(Choice(sample, prompt, self._prompt_text(prompt)))
            if self._call.logprobs is not None:
                told |= texts.told(sample.token_ids, sample.logprobs)
                told |= texts.told(prompt, sample.prompt_logprobs or ())
        return Answer(self.model, self.fingerprint, choices, told)

    def _request(self, prompt: list[int], choice: int) -> SampleRequest:
        call = self._call
        room = max(1, self._limits.context_tokens - len(prompt))  # a full context is told as such
        likeliest = call.logprobs or 0
        tells_prompt = call.echo and (call.logprobs is not None or call.max_tokens == 0)
        return SampleRequest(
            adapter=self.model,
            prompt_ids=prompt,
            max_tokens=room if call.max_tokens is None else call.max_tokens,
            temperature=call.temperature,
            top_p=call.top_p,
            top_k=call.top_k,
            stop=call.stop,
            seed=choice_seed(call.seed, choice),
            logit_bias=call.logit_bias,
            top_logprobs=likeliest,
            prompt_logprobs=likeliest if tells_prompt else None,
            json_schema=call.json_schema,
            end_ids=call.end_ids,
            tempered=call.tempered,
        )

    def _prompt_text(self, prompt: list[int]) -> str | None:
        return str(self._limits.tokenizer.decode(prompt)) if self._call.echo else None
