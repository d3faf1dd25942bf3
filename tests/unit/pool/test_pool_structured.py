"""Schemas are strict, answers are validated, and complaints name what is wrong."""

from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from actors.lm.messages import user
from actors.pool.calls.structured import InvalidAnswer, asked_again, parse_answer, response_format


class Span(BaseModel):
    start: int
    end: int = 10


class Verdict(BaseModel):
    reasoning: str
    score: int = Field(ge=0, le=100)
    kind: Literal["good", "bad"] = "good"
    default: str | None = None
    span: Span = Field(description="where it shows")
    spans: list[Span] = []


class Nested(BaseModel):
    children: list["Nested"]


def objects(node: Any) -> list[dict[str, Any]]:
    """All object schemas in a schema."""
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    found = [inner for value in below for inner in objects(value)]
    is_object = isinstance(node, dict) and node.get("type") == "object"
    return found + ([node] if is_object else [])


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return response_format(model)["json_schema"]["schema"]


def test_the_name_and_the_strictness_are_told():
    asked = response_format(Verdict)
    assert asked["type"] == "json_schema"
    assert (asked["json_schema"]["name"], asked["json_schema"]["strict"]) == ("Verdict", True)


@pytest.mark.parametrize("model", [Verdict, Nested])
def test_objects_are_closed_and_need_all_their_properties(model: type[BaseModel]):
    schema = schema_of(model)
    Draft202012Validator.check_schema(schema)
    assert objects(schema)
    for node in objects(schema):
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])


def test_a_property_called_default_stays_and_default_values_go():
    properties = schema_of(Verdict)["properties"]
    assert "default" in properties
    assert "default" not in properties["kind"]


def test_a_reference_with_a_description_is_put_in_place():
    span = schema_of(Verdict)["properties"]["span"]
    assert "$ref" not in span
    assert span["description"] == "where it shows"


def test_the_schema_admits_what_the_model_dumps():
    value = Verdict(reasoning="r", score=3, span=Span(start=1), spans=[Span(start=2)])
    Draft202012Validator(schema_of(Verdict)).validate(value.model_dump(mode="json"))


def test_a_free_form_mapping_cannot_be_strict():
    class Loose(BaseModel):
        scores: dict[str, int]

    with pytest.raises(TypeError, match="free-form mapping"):
        response_format(Loose)


@pytest.mark.parametrize(
    "text",
    [
        '{"start": 1, "end": 2}',
        '  {"start": 1, "end": 2}\n',
        '```json\n{"start": 1, "end": 2}\n```',
        '```\n{"start": 1,\n "end": 2}```\n',
    ],
)
def test_an_answer_that_fits(text: str):
    assert parse_answer(text, Span) == Span(start=1, end=2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"start": "x"}', "start: "),
        ("{}", "start: Field required"),
        ('{"start": 1', "Invalid JSON"),
        ("Sure! Here it is.", "Invalid JSON"),
        ("", "Invalid JSON"),
    ],
)
def test_a_complaint_names_the_problem(text: str, complaint: str):
    with pytest.raises(InvalidAnswer, match=complaint):
        parse_answer(text, Span)


def test_asking_again_appends_the_answer_and_the_complaint():
    messages = [user("Judge this.")]
    again = asked_again(messages, "{}", "start: Field required")
    assert again[:1] == messages
    assert again[1] == {"role": "assistant", "content": "{}"}
    assert again[2]["role"] == "user"
    assert "start: Field required" in again[2]["content"]
