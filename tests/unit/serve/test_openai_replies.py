"""Replies carry what OpenAI's clients read, whole and streamed; the stock client reads them."""

import asyncio
import json
from typing import Any

import openai
import pytest
from fake_server import BASE_DIGEST, ONE_DIGEST, SAID, FakeClient
from openai_client import asked

from actors.lm.refusals import BadRequest, BrokenAdapter
from serve.app import build_app
from serve.openai.keys import Keys

TURN: Any = {"role": "user", "content": "Hello"}


def _ask(fake: FakeClient, ask: Any) -> Any:
    """What `ask(client)` gives with OpenAI's own client before the app."""
    return asyncio.run(asked(build_app(fake, Keys(), 10_000), ask))


async def _events(stream: Any) -> list[Any]:
    return [event async for event in await stream]


def test_a_chat() -> None:
    def ask(client: openai.AsyncOpenAI) -> Any:
        return client.chat.completions.create(
            model="one", messages=[TURN], n=2, logprobs=True, top_logprobs=2
        )

    reply = _ask(FakeClient(), ask)
    assert (reply.model, reply.object) == ("one@2", "chat.completion")
    assert reply.system_fingerprint == f"{BASE_DIGEST[:16]}-{ONE_DIGEST[:16]}"
    assert reply.to_dict()["adapter_digest"] == ONE_DIGEST
    assert [choice.message.content for choice in reply.choices] == [SAID, SAID]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 2 * len(SAID.encode()))
    tokens = reply.choices[1].logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == SAID
    assert {len(token.top_logprobs) for token in tokens} == {2}


def test_completions_with_echo_as_lm_eval_reads_them() -> None:
    def ask(client: openai.AsyncOpenAI) -> Any:
        return client.completions.create(
            model="base", prompt=["Häh", "Oh"], echo=True, max_tokens=1, logprobs=1, temperature=0
        )

    reply = _ask(FakeClient(), ask)
    assert reply.usage.prompt_tokens == 4 + 2
    for choice, prompt in zip(reply.choices, ["Häh", "Oh"], strict=True):
        told, size = choice.logprobs, len(prompt.encode())
        assert choice.text == prompt + SAID[0]
        assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == size + 1
        assert (told.token_logprobs[0], told.top_logprobs[0]) == (None, None)
        for token, logprob, likeliest in zip(
            told.tokens[1:], told.token_logprobs[1:], told.top_logprobs[1:], strict=True
        ):
            assert likeliest[token] == logprob
            odd = (token.encode() if len(token) == 1 else bytes([int(token[-2:], 16)]))[0] % 2
            assert (logprob == max(likeliest.values())) == bool(odd)
    umlaut = reply.choices[0].logprobs
    assert umlaut.tokens[:4] == ["H", "bytes:\\xc3", "bytes:\\xa4", "h"]
    assert umlaut.text_offset[:4] == [0, 1, 1, 2]


def test_a_streamed_chat() -> None:
    def ask(client: openai.AsyncOpenAI) -> Any:
        return _events(
            client.chat.completions.create(
                model="one",
                messages=[TURN],
                n=2,
                stream=True,
                logprobs=True,
                stream_options={"include_usage": True},
            )
        )

    *parts, last = _ask(FakeClient(), ask)
    assert {part.id for part in parts} == {last.id}
    assert all(part.model == "one@2" and part.usage is None for part in parts)
    assert all(part.to_dict()["adapter_digest"] == ONE_DIGEST for part in parts)
    assert (last.choices, last.usage.completion_tokens) == ([], 2 * len(SAID.encode()))
    for i in range(2):
        mine = [part.choices[0] for part in parts if part.choices[0].index == i]
        assert [choice.delta.role for choice in mine] == ["assistant"] + [None] * (len(mine) - 1)
        assert "".join(choice.delta.content or "" for choice in mine) == SAID
        assert [choice.finish_reason for choice in mine] == [None] * (len(mine) - 1) + ["stop"]
        told = [token for choice in mine if choice.logprobs for token in choice.logprobs.content]
        assert b"".join(bytes(token.bytes) for token in told).decode() == SAID


def test_a_streamed_completion_is_the_whole_one_in_parts() -> None:
    def fields(stream: bool) -> dict[str, Any]:
        return {"model": "one", "prompt": ["Once", "x"], "logprobs": 2, "stream": stream}

    parts = _ask(FakeClient(), lambda client: _events(client.completions.create(**fields(True))))
    whole = _ask(FakeClient(), lambda client: client.completions.create(**fields(False)))
    for choice in whole.choices:
        mine = [part.choices[0] for part in parts if part.choices[0].index == choice.index]
        assert "".join(part.text for part in mine) == choice.text
        assert mine[-1].finish_reason == choice.finish_reason == "length"
        told = [part.logprobs for part in mine if part.logprobs]
        for field in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            joined = [entry for one in told for entry in getattr(one, field)]
            assert joined == getattr(choice.logprobs, field)
    assert all("usage" not in part.to_dict() for part in parts)


def test_what_goes_wrong_in_a_stream_is_told_in_it() -> None:
    def ask(client: openai.AsyncOpenAI) -> Any:
        return _events(client.chat.completions.create(model="one", messages=[TURN], stream=True))

    with pytest.raises(openai.APIError, match=r"^not finite\.$") as caught:
        _ask(FakeClient(breaks=BrokenAdapter("not finite")), ask)
    assert (type(caught.value), caught.value.type) == (openai.APIError, "broken_adapter")
    # Before the first event it is an HTTP error.
    with pytest.raises(openai.BadRequestError) as refused:
        _ask(FakeClient(fails=BadRequest("too long", "prompt")), ask)
    assert refused.value.param == "messages"


def test_the_raw_events() -> None:
    async def ask(client: openai.AsyncOpenAI) -> list[str]:
        body = {"model": "one", "prompt": "x", "stream": True, "max_tokens": 2}
        reply = await client._client.post("http://server/v1/completions", json=body)
        assert reply.headers["content-type"].startswith("text/event-stream")
        return reply.text.split("\n\n")

    *events, done, nothing = _ask(FakeClient(), ask)
    assert (done, nothing) == ("data: [DONE]", "")
    assert all(json.loads(event.removeprefix("data: "))["object"] for event in events)
