"""OpenAI bodies become calls; what is not supported is refused by name, what is off passes."""

from typing import Any

import pytest
from pydantic import ValidationError

from actors.lm.messages import Message
from actors.lm.refusals import BadRequest
from serve.calls import Call, choice_seed
from serve.openai_requests import ChatBody, CompletionBody
from serve.prompts import encode_prompt

TURN: Message = {"role": "user", "content": "Hello"}


def _chat(**fields: Any) -> Call:
    return ChatBody.model_validate({"model": "m", "messages": [TURN]} | fields).call()


def test_a_chat_becomes_a_call() -> None:
    call = _chat(n=2, temperature=0.5, top_p=0.9, stop="x", seed=3, max_completion_tokens=7)
    expected = Call(
        "m", [TURN], max_tokens=7, temperature=0.5, top_p=0.9, stop=("x",), seed=3, n=2
    )  # fmt: skip
    assert call == expected
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert _chat(messages=[{"role": "user", "content": parts}]).prompt == [TURN]


def test_fields_that_are_off_pass() -> None:
    off = {"stream": False, "tools": None, "frequency_penalty": 0, "logit_bias": {}, "stop": None}
    assert _chat(**off) == _chat()
    assert _chat(response_format={"type": "text"}) == _chat()
    assert _chat(tool_choice="auto", service_tier="auto", temperature=1) == _chat()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", True),
        ("tools", [{"type": "function"}]),
        ("frequency_penalty", 0.5),
        ("top_k", 5),
        ("top_logprobs", 3),
        ("response_format", {"type": "json_object"}),
        ("n", 0),
        ("n", True),
        ("n", "2"),
        ("temperature", "0.5"),
        ("seed", True),
        ("logprobs", 1),
        ("stop", ["x"] * 17),
        ("stop", 5),
        ("stop", "\ud800"),
        ("model", "\ud800"),
        ("n", 10**9),
        ("temperature", float("nan")),
        ("temperature", -1),
        ("top_p", 0),
        ("stop", [""]),
        ("max_tokens", 0),
        ("messages", []),
        ("messages", [{"role": "tool", "content": "x"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]),
    ],
)
def test_what_is_refused_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        _chat(**{field: value})
    place = caught.value.errors()[0]["loc"]
    assert place[0] == field
    assert "str" not in place  # a member of a union is no field


def test_completions_take_text_or_token_ids() -> None:
    body = {"model": "m", "prompt": [5, 6], "logprobs": 0}
    call = CompletionBody.model_validate(body).call()
    assert (call.prompt, call.max_tokens, call.token_texts) == ([5, 6], 16, True)
    for prompt in ([], ["a", "b"], ["12", "7"], [True, False], [[5]], 5):
        with pytest.raises(ValidationError, match="one text or a list of token ids") as caught:
            CompletionBody.model_validate({"model": "m", "prompt": prompt})
        assert [error["loc"] for error in caught.value.errors()] == [("prompt",)]
    with pytest.raises(ValidationError, match="logprobs"):
        CompletionBody.model_validate({"model": "m", "prompt": "x", "logprobs": False})


def test_choices_of_neighbouring_seeds_differ() -> None:
    seeds = [choice_seed(seed, choice) for seed in range(50) for choice in range(8)]
    assert len(set(seeds)) == len(seeds)
    assert choice_seed(7, 0) == 7
    assert choice_seed(None, 3) is None


def test_prompts_that_cannot_be_rendered_are_bad_requests() -> None:
    from small_base import byte_tokenizer

    strict = byte_tokenizer("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(BadRequest, match="roles must alternate"):
        encode_prompt(strict, _chat())
    with pytest.raises(BadRequest, match="surrogate"):
        encode_prompt(byte_tokenizer(), Call("m", [{"role": "user", "content": "\ud800"}]))
    with pytest.raises(BadRequest, match="surrogate"):
        encode_prompt(byte_tokenizer(), Call("m", "\ud800"))
