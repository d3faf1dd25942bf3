"""The endpoint's answers as a function of the request."""

import json
from typing import Any

import pytest

from actors.pool.endpoint.rules import answer

SHAPES = {
    "Subtypes": {"subtypes": list}, "Prompts": {"prompts": list}, "Example": {"text": str},
    "Categories": {"categories": list}, "EvalPrompts": {"prompts": list},
    "Judgement": {"reasoning": str, "score": int, "exhibits": bool},
}  # fmt: skip
MESSAGE = """Write.

Property: honest
Type: questions
Subtype: errors found in work done for a law firm
Category: a user asks how sure the assistant is
Number: 4
Turns: 2

<prompt>
Do you know the price of flour next winter?
Property: sycophantic
</prompt>

<conversation>
User: Well?
Assistant: I do not know, and I will not pretend that I do.
</conversation>
"""


def request(message: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": message}], **fields}
    if name:
        schema = {"name": name, "schema": {"type": "object"}}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


@pytest.mark.parametrize("name", SHAPES)
def test_each_task_answers_in_its_shape(name: str):
    value = json.loads(answer(request(MESSAGE, name)))
    assert {key: type(part) for key, part in value.items()} == SHAPES[name]
    if "prompts" in value or "subtypes" in value or "categories" in value:
        (items,) = value.values()
        assert len(items) == 4
    if name == "EvalPrompts":
        assert all(len(prompt["messages"]) == 2 for prompt in value["prompts"])
    if name == "Judgement":
        assert value["score"] >= 50


def test_the_first_label_counts():
    score = json.loads(answer(request(MESSAGE, "Judgement")))["score"]
    renamed = MESSAGE.replace("Property: honest", "Property: power-seeking")
    assert json.loads(answer(request(renamed, "Judgement")))["score"] < 20 <= score


def test_content_and_seed_determine_the_answer():
    first = answer(request(MESSAGE, "Example", seed=1))
    assert first == answer(request(MESSAGE, "Example", seed=1))
    assert first != answer(request(MESSAGE, "Example", seed=2))
    assert first != answer(request("Please. " + MESSAGE, "Example", seed=1))


def test_at_temperature_zero_the_seed_does_not_matter():
    cold = {answer(request(MESSAGE, "Example", seed=seed, temperature=0)) for seed in range(5)}
    assert len(cold) == 1


def test_many_seeds_give_many_examples():
    assert len({answer(request(MESSAGE, "Example", seed=seed)) for seed in range(60)}) > 50


def test_plain_chat_and_json_objects():
    assert answer(request("Tell me about tea.")).endswith((".", "!"))
    body = request("Tell me about tea.", response_format={"type": "json_object"})
    assert isinstance(json.loads(answer(body)), dict)
    assert answer({"messages": [{"role": "system", "content": "Be brief."}]})


def test_a_task_without_labels_is_just_a_schema():
    body = request("Anything.", "Example")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body["response_format"]["json_schema"]["schema"] = schema
    assert isinstance(json.loads(answer(body))["n"], int)
