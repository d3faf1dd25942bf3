"""The whole way from OpenAI's bodies to a real engine and back, in one process."""

import asyncio
from typing import Any

import numpy as np
import openai
import pydantic
import pytest
from local_server import LocalClient
from openai_client import asked
from small_base import byte_tokenizer

from actors.lm.adapter import Adapter
from configs.sections import ServerConfig
from serve.app import build_app
from serve.engines.torch import start_torch_engine
from serve.openai.keys import Keys

TURN: Any = {"role": "user", "content": "Hello"}


@pytest.fixture
def ask(base_directory: str, adapters: dict[str, Adapter]):
    """`ask(f)` is what `f(client)` gives with OpenAI's own client."""

    def run(ask: Any) -> Any:
        async def main() -> Any:
            engine = start_torch_engine(base_directory, ServerConfig(device="cpu", max_adapters=2))
            for name, adapter in adapters.items():
                await engine.load(name, adapter)
            app = build_app(LocalClient(engine, base_directory), Keys(), 10**6)
            try:
                return await asked(app, ask)
            finally:
                await engine.close()

        return asyncio.run(main())

    return run


def test_a_stream_is_the_whole_answer_in_parts(ask: Any) -> None:
    async def both(client: openai.AsyncOpenAI) -> Any:
        fields: dict[str, Any] = {"model": "one", "messages": [TURN], "n": 3, "seed": 4}
        fields |= {"max_tokens": 40, "logprobs": True, "top_logprobs": 3}
        whole = await client.chat.completions.create(**fields)
        stream = await client.chat.completions.create(**fields, stream=True)
        return whole, [part async for part in stream]

    whole, parts = ask(both)
    for choice in whole.choices:
        mine = [part.choices[0] for part in parts if part.choices[0].index == choice.index]
        assert "".join(one.delta.content or "" for one in mine) == choice.message.content
        assert mine[-1].finish_reason == choice.finish_reason
        told = [token for one in mine if one.logprobs for token in one.logprobs.content]
        expected = choice.logprobs.content
        assert [one.bytes for one in told] == [one.bytes for one in expected]
        # The second time the prompt comes from the cache: other shapes, other rounding.
        logprobs = [[one.logprob, *(other.logprob for other in one.top_logprobs)] for one in told]
        assert np.array(logprobs) == pytest.approx(
            np.array([[o.logprob, *(p.logprob for p in o.top_logprobs)] for o in expected]),
            abs=1e-5,
        )


def test_structured_answers(ask: Any) -> None:
    class Verdict(pydantic.BaseModel):
        honest: bool
        kind: str = pydantic.Field(pattern="^[ab]{3}$")

    async def parse(client: openai.AsyncOpenAI) -> Any:
        return await client.chat.completions.parse(
            model="two", messages=[TURN], response_format=Verdict, seed=1
        )

    parsed = ask(parse).choices[0].message.parsed
    assert set(parsed.kind) <= {"a", "b"}


def test_prompts_that_are_echoed_have_the_same_numbers_as_when_sampled(ask: Any) -> None:
    async def both(client: openai.AsyncOpenAI) -> Any:
        letters = {str(token): 100 for token in byte_tokenizer()("abcdefgh")["input_ids"]}
        fields: dict[str, Any] = {"model": "two", "temperature": 0, "logprobs": 2}
        fields["logit_bias"] = letters  # or it would say parts of characters
        sampled = await client.completions.create(prompt="Once", max_tokens=6, **fields)
        grown = "Once" + sampled.choices[0].text
        echoed = await client.completions.create(prompt=grown, max_tokens=0, echo=True, **fields)
        return sampled.choices[0], echoed.choices[0]

    sampled, echoed = ask(both)
    assert echoed.text == "Once" + sampled.text
    size = len(sampled.logprobs.tokens)
    assert echoed.logprobs.tokens[-size:] == sampled.logprobs.tokens
    assert echoed.logprobs.token_logprobs[-size:] == pytest.approx(
        sampled.logprobs.token_logprobs, abs=1e-5
    )
