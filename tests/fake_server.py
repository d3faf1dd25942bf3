"""A client of the adapter server without a server: one that says the same sentence to everything.

Its tokens are the bytes of the sentence, so characters come in parts; every even byte has a
likelier alternative.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from actors.lm.engine import EngineStats
from actors.lm.refusals import UnknownAdapter
from actors.lm.requests import BASE, Likely, Piece, Sample, TokenLogprob
from serve.calls import (
    Answer,
    Call,
    Choice,
    Delta,
    Description,
    Loaded,
    Opened,
    Prompt,
    TokenText,
    fingerprint,
)
from serve.registry import resolve

BASE_NAME, BASE_DIGEST, ONE_DIGEST = "small/base", "b" * 64, "a" * 64
SAID = "Grüße, world! One two three."  # what it says, byte by byte, until max_tokens


@dataclass
class FakeClient:
    """`serve.client.ServerClient` as the door knows it."""

    fails: Exception | None = None  # raised by every request
    breaks: Exception | None = None  # raised by a stream after its third token
    hangs: bool = False
    stalls: bool = False  # a stream hangs after its third token
    calls: list[Call] = field(default_factory=list)
    cancelled: int = 0
    adapters: dict[str, str] = field(
        default_factory=lambda: {BASE: BASE_DIGEST, "one@1": ONE_DIGEST, "one@2": ONE_DIGEST}
    )

    async def ask(self, call: Call) -> Answer:
        self.calls.append(call)
        await self._wait()
        name = resolve(call.model, list(self.adapters), [BASE_NAME])
        choices = [
            _choice(call, prompt, self.adapters[name])
            for prompt in call.prompts
            for _ in range(call.n)
        ]
        texts = {} if call.logprobs is None else TEXTS
        return Answer(name, fingerprint(BASE_DIGEST, self.adapters[name]), choices, texts)

    async def ask_stream(self, call: Call) -> AsyncGenerator[Opened | Delta | Answer, None]:
        answer = await self.ask(call)
        yield Opened(answer.model, answer.fingerprint, self.adapters[answer.model])
        longest = max(len(one.sample.token_ids) for one in answer.choices)
        for place in range(longest):
            if place == 3 and self.breaks is not None:
                raise self.breaks
            if place == 3 and self.stalls:
                self.hangs = True
                await self._wait()
            pieces = [
                (i, _piece(one.sample, place))
                for i, one in enumerate(answer.choices)
                if place < len(one.sample.token_ids)
            ]
            yield Delta(pieces, answer.texts)
        yield answer

    async def describe(self) -> Description:
        await self._wait()
        return Description(None, BASE_NAME, [BASE_NAME], dict(self.adapters))

    async def load(self, name: str, path: str | None = None) -> Loaded:
        await self._wait()
        self.adapters[f"{name}@3"] = ONE_DIGEST
        return Loaded(f"{name}@3", ONE_DIGEST, [-1.5, -2.0])

    async def unload(self, name: str) -> list[str]:
        await self._wait()
        removed = [full for full in self.adapters if full.partition("@")[0] == name]
        if not removed:
            raise UnknownAdapter(name, list(self.adapters))
        return removed

    async def tokenize(self, prompt: Prompt, add_special_tokens: bool) -> list[int]:
        await self._wait()
        return [256] * add_special_tokens + _encoded(prompt)

    async def stats(self) -> list[tuple[str, EngineStats, list[str]]]:
        await self._wait()
        return [("replica-1", EngineStats(2, 1, 30, 100, 400, 50, 600), ["one@2"])]

    async def _wait(self) -> None:
        if self.fails is not None:
            raise self.fails
        if self.hangs:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise


TEXTS = {
    token: TokenText(bytes([token]).decode("utf-8", "replace"), bytes([token]))
    for token in range(256)
}


def _encoded(prompt: Prompt) -> list[int]:
    if isinstance(prompt, str):
        return list(prompt.encode())
    texts = [one["content"] for one in prompt if not isinstance(one, int)]
    return [one for one in prompt if isinstance(one, int)] or list("".join(texts).encode())


def _choice(call: Call, prompt: Prompt, digest: str) -> Choice:
    prompt_ids = _encoded(prompt)
    limit = len(SAID.encode()) if call.max_tokens is None else call.max_tokens
    token_ids = list(SAID.encode())[:limit]
    whole = limit >= len(SAID.encode())
    sample = Sample(
        token_ids,
        [_told(token, call.logprobs) for token in token_ids],
        bytes(token_ids).decode("utf-8", "replace"),
        "stop" if whole else "length",
        digest,
        None
        if call.logprobs is None or not call.echo
        else [None, *(_told(token, call.logprobs) for token in prompt_ids[1:])],
    )
    return Choice(sample, prompt_ids, bytes(prompt_ids).decode() if call.echo else None)


def _told(token: int, count: int | None) -> TokenLogprob:
    """Each token is the likeliest at odd ids, the second at even ones."""
    better = [Likely((token + 1) % 256, -0.25)] if token % 2 == 0 else []
    ranked = [*better, Likely(token, -0.5 - token / 1000), Likely((token + 2) % 256, -3.0)]
    return TokenLogprob(-0.5 - token / 1000, tuple(ranked[: count or 0]))


def _piece(sample: Sample, place: int) -> Piece:
    """Text comes when its character is whole."""
    before = bytes(sample.token_ids[:place]).decode("utf-8", "ignore")
    after = bytes(sample.token_ids[: place + 1]).decode("utf-8", "ignore")
    last = place + 1 == len(sample.token_ids)
    text = sample.text[len(before) :] if last else after[len(before) :]
    return Piece([sample.token_ids[place]], [sample.logprobs[place]], text)
