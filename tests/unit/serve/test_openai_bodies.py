"""OpenAI bodies become calls; what is not supported is refused by name, what is off passes."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from actors.lm.messages import Message
from serve.calls import Call, choice_seed
from serve.openai.adapter_bodies import LoadBody, TokenizeBody
from serve.openai.bodies import ChatBody, CompletionBody

TURN: Message = {"role": "user", "content": "Hello"}


def _chat(**fields: Any) -> Call:
    return ChatBody.model_validate({"model": "m", "messages": [TURN]} | fields).call()


def _complete(**fields: Any) -> Call:
    return CompletionBody.model_validate({"model": "m", "prompt": "Once"} | fields).call()


def test_a_chat_becomes_a_call() -> None:
    call = _chat(
        n=2,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        stop="x",
        seed=3,
        max_completion_tokens=7,
        logprobs=True,
        top_logprobs=4,
        logit_bias={"5": -100, "6": 0.5},
    )
    assert call == Call(
        "m",
        [[TURN]],
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        stop=("x",),
        seed=3,
        n=2,
        logit_bias={5: -100.0, 6: 0.5},
        logprobs=4,
    )
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert _chat(messages=[{"role": "user", "content": parts}]).prompts == [[TURN]]


def test_fields_that_are_off_pass() -> None:
    off = {"stream": False, "tools": None, "frequency_penalty": 0, "logit_bias": {}, "stop": None}
    assert _chat(**off) == _chat()
    assert _chat(response_format={"type": "text"}) == _chat()
    assert _chat(tool_choice="auto", service_tier="auto", temperature=1, top_k=-1) == _chat()
    echoed = {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None}
    assert _chat(messages=[TURN, echoed, TURN]).prompts[0][1] == {
        "role": "assistant",
        "content": "Hi",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("frequency_penalty", 0.5),
        ("audio", {}),
        ("stream_options", {"include_usage": True}),
        ("top_k", -2),
        ("top_logprobs", 3),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "grammar"}),
        ("response_format", {"type": "json_schema", "json_schema": {"schema": {"x": "\ud800"}}}),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"²": 1}),
        ("logit_bias", {"5": 101}),
        ("logit_bias", {"5": True}),
        ("logit_bias", {"5": float("nan")}),
        ("logit_bias", [5]),
        ("n", 0),
        ("n", True),
        ("n", "2"),
        ("temperature", "0.5"),
        ("seed", True),
        ("seed", 2**63),
        ("logprobs", 1),
        ("stop", ["x"] * 17),
        ("stop", 5),
        ("stop", "\ud800"),
        ("stop", [""]),
        ("model", "\ud800"),
        ("n", 10**9),
        ("temperature", float("nan")),
        ("temperature", -1),
        ("top_p", 0),
        ("max_tokens", 0),
        ("messages", []),
        ("messages", [{"role": "tool", "content": "x"}]),
        ("messages", [{"role": "user", "content": "\ud800"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]),
    ],
)
def test_what_is_refused_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        _chat(**{field: value})
    place = caught.value.errors()[0]["loc"]
    assert place[0] == field
    assert "str" not in place  # a member of a union is no field


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Once", ["Once"]),
        (["Once", "upon"], ["Once", "upon"]),
        ([5, 6], [[5, 6]]),
        ([[5, 6], [7]], [[5, 6], [7]]),
    ],
)
def test_prompts_of_completions(prompt: Any, prompts: list[Any]) -> None:
    call = _complete(prompt=prompt, logprobs=0)
    assert (call.prompts, call.max_tokens, call.logprobs) == (prompts, 16, 0)


@pytest.mark.parametrize(
    "fields",
    [
        *({"prompt": prompt} for prompt in ([], [True, False], [[]], [5, "x"], [[[5]]], 5, {})),
        {"prompt": ["x"] * 600, "n": 2},
        {"echo": True, "stream": True},
        {"max_tokens": 0},
        {"logprobs": False},
        {"logprobs": 21},
    ],
)
def test_completions_that_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        _complete(**fields)
    [error] = caught.value.errors()
    assert len(error["loc"]) == 1
    assert error["loc"][0] in fields


def test_what_lm_eval_sends() -> None:
    sent = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    call = _complete(prompt=[[5, 6], [5, 7]], **sent)
    assert call == Call(
        "m", [[5, 6], [5, 7]], max_tokens=1, temperature=0, seed=1234, logprobs=1, echo=True
    )
    assert _complete(echo=True, max_tokens=0).max_tokens == 0


@pytest.mark.parametrize("strict", [{}, {"strict": True}, {"strict": False}])
def test_response_formats_are_schemas(strict: dict[str, bool]) -> None:
    schema = {"type": "object", "properties": {"größe": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema} | strict}
    assert json.loads(_chat(response_format=form).json_schema or "") == schema
    assert json.loads(_chat(response_format={"type": "json_object"}).json_schema or "") == {
        "type": "object"
    }


def test_bodies_of_vllm() -> None:
    LoadBody.model_validate({"lora_name": "a", "lora_path": "p", "load_inplace": False})
    for wrong in ({"load_inplace": True}, {"lora_path": ""}, {"lora_name": None}):
        with pytest.raises(ValidationError):
            LoadBody.model_validate({"lora_name": "a", "lora_path": "p"} | wrong)
    assert TokenizeBody(prompt="x").asked() == ("x", True)
    assert TokenizeBody.model_validate({"messages": [TURN]}).asked() == ([TURN], False)
    special = {"messages": [TURN], "add_special_tokens": True}
    for wrong in ({}, {"prompt": "x", "messages": [TURN]}, special):
        with pytest.raises(ValidationError):
            TokenizeBody.model_validate(wrong)


def test_choices_of_neighbouring_seeds_differ() -> None:
    seeds = [choice_seed(seed, choice) for seed in range(50) for choice in range(8)]
    assert len(set(seeds)) == len(seeds)
    assert choice_seed(7, 0) == 7
    assert choice_seed(None, 3) is None
