"""Made-up instances are valid, whatever the schema."""

import enum
import random
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from actors.pool.endpoint.instances import UnsupportedSchema, instance


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    kind: Literal["leaf"]
    name: Annotated[str, Field(min_length=200, max_length=210)]
    share: Annotated[float, Field(gt=0, lt=0.01)]


class Tree(BaseModel):
    colour: Colour
    note: str | None = None
    pair: tuple[int, str]
    counts: Annotated[list[Annotated[int, Field(gt=3, le=5)]], Field(min_length=2, max_length=2)]
    children: list["Tree | Leaf"]
    even: Annotated[int, Field(multiple_of=2, ge=3)]
    flags: dict[str, bool]


@pytest.mark.parametrize("seed", range(20))
def test_pydantic_models_accept_their_instances(seed: int):
    schema = Tree.model_json_schema()
    value = instance(schema, random.Random(seed))
    jsonschema.validate(value, schema)
    Tree.model_validate(value)


numbers = st.integers(-50, 50)


def string_schemas() -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.tuples(st.integers(0, 90), st.integers(0, 90)).map(sorted)
    return lengths.map(lambda n: {"type": "string", "minLength": n[0], "maxLength": n[1]})


def number_schemas() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.tuples(numbers, st.integers(2, 50), st.sampled_from(["integer", "number"]))
    closed = bounds.map(lambda b: {"type": b[2], "minimum": b[0], "maximum": b[0] + b[1]})
    opened = bounds.map(
        lambda b: {"type": b[2], "exclusiveMinimum": b[0], "exclusiveMaximum": b[0] + b[1]}
    )
    return closed | opened | bounds.map(lambda b: {"type": b[2], "maximum": b[0]})


def composed(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    sizes = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)
    arrays = st.builds(
        lambda items, n: {"type": "array", "items": items, "minItems": n[0], "maxItems": n[1]},
        parts,
        sizes,
    )
    names = st.sampled_from(["a", "b", "c", "d e"])
    objects = st.dictionaries(names, parts, max_size=4).flatmap(
        lambda properties: st.sets(st.sampled_from(sorted(properties) or ["x"])).map(
            lambda required: {
                "type": "object",
                "properties": properties,
                "required": sorted(required & properties.keys()),
                "additionalProperties": False,
            }
        )
    )
    anys = st.lists(parts, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return arrays | objects | anys


leaves = (
    string_schemas()
    | number_schemas()
    | st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"]},
            {"const": {"x": [1, None]}},
            {"enum": ["a", 1, None]},
            {},
        ]
    )
)


@settings(max_examples=200, deadline=None)
@given(st.recursive(leaves, composed, max_leaves=12), st.integers(0, 3))
def test_any_schema_accepts_its_instance(schema: dict[str, Any], seed: int):
    jsonschema.validate(instance(schema, random.Random(seed)), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"n": {"type": "integer", "minimum": 3}}, "$ref": "#/$defs/n"},
        {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "null"}}}]},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False, "minItems": 1},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    ],
)
def test_rarer_keywords(schema: dict[str, Any]):
    for seed in range(5):
        jsonschema.validate(instance(schema, random.Random(seed)), schema)


def test_what_cannot_be_made_up_is_named():
    with pytest.raises(UnsupportedSchema, match="pattern"):
        instance({"type": "string", "pattern": "^a+$"}, random.Random(0))
    endless = {"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
                               "required": ["a"]}}, "$ref": "#/$defs/a"}  # fmt: skip
    with pytest.raises(UnsupportedSchema, match="deeper"):
        instance(endless, random.Random(0))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/nowhere"},
        {"enum": []},
        {"type": "integer", "minimum": 3, "maximum": 1},
    ],
)
def test_a_schema_without_an_instance_is_refused(schema):
    with pytest.raises(UnsupportedSchema):
        instance(schema, random.Random(0))
