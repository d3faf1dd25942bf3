"""Rows held to a JSON schema: what they say meets it, and what cannot be held to is refused."""

import json
from enum import Enum
from typing import Any, Literal

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from small_base import byte_tokenizer

from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest
from actors.lm.requests import SampleRequest
from actors.lm.sampling.advance import advance
from actors.lm.sampling.row import Row

TOKENIZER = byte_tokenizer()
LIMITS = Limits(TOKENIZER, frozenset({TOKENIZER.eos_token_id}), 4096, 262)
# Nearly any token that JSON ends things with, so that random texts end.
LEANING = torch.zeros(262).index_fill(0, torch.tensor(TOKENIZER.encode('"}],:0')), 4.0)
# A random model writes surrogates, which no JSON parser counts as the grammar does.
LEANING[TOKENIZER.encode("퟿")[0]] = -30.0


def _row(schema: str, seed: int = 0, limits: Limits = LIMITS, **fields: Any) -> Row:
    fields = {"max_tokens": 200, "seed": seed, **fields}
    request = SampleRequest("base", [5], json_schema=schema, **fields)
    return Row(request, slot=0, adapter_digest="", limits=limits)


def _run(rows: list[Row], seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    while going := [row for row in rows if not row.done]:
        advance(going, torch.randn(len(going), 262, generator=generator) + LEANING)


def _leaves() -> st.SearchStrategy[dict[str, Any]]:
    bound = st.integers(-20, 20)
    return st.one_of(
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["integer", "null"]}, {}]),
        st.builds(lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b},
                  st.integers(0, 3), st.integers(0, 3)),
        st.builds(lambda a, b: {"type": "integer", "minimum": a, "maximum": a + b},
                  bound, st.integers(0, 20)),
        st.builds(lambda a: {"type": "number", "exclusiveMinimum": a / 4}, bound),
        st.sampled_from(["^[a-c]{1,3}$", "x|yz", "[^a]?", "\\d{4}-\\d{2}", ".{0,3}", "\\s\\S"]).map(
            lambda pattern: {"type": "string", "pattern": pattern}),
        st.sampled_from(["date", "uuid", "ipv4"]).map(lambda f: {"type": "string", "format": f}),
        st.lists(st.sampled_from(["a", 1, None, 2.5, 'q"\n', {"b": [1]}]), min_size=1).map(
            lambda values: {"enum": values}),
    )  # fmt: skip


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(parts: dict[str, Any], required: list[str], more: Any) -> dict[str, Any]:
        named = {"type": "object", "properties": parts, "additionalProperties": more}
        return named | {"required": [name for name in parts if name in required]}

    names = st.sampled_from(["a", "b", "é", 'c"'])
    return st.builds(
        build, st.dictionaries(names, inner, max_size=3), st.lists(names), st.booleans() | inner
    )


SCHEMAS = st.recursive(
    _leaves(),
    lambda inner: st.one_of(
        _objects(inner),
        st.builds(lambda items, most: {"type": "array", "items": items, "maxItems": most},
                  inner, st.integers(0, 3)),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        st.builds(lambda part: {"$ref": "#/$defs/it", "$defs": {"it": part}}, inner).map(
            lambda part: part if "$defs" not in json.dumps(part["$defs"]) else {"type": "null"}),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
def test_a_text_that_ended_by_itself_meets_its_schema(schema: dict[str, Any], seed: int) -> None:
    try:
        rows = [_row(json.dumps(schema), seed=i) for i in range(3)]
    except BadRequest:
        return
    _run(rows, seed)
    for sample in (row.result() for row in rows):
        if sample.finish_reason == "stop":
            jsonschema.validate(json.loads(sample.text), schema)


def test_rows_of_many_schemas_and_of_none_share_a_batch() -> None:
    schemas = [{"enum": [f"only {i}"]} for i in range(5)]
    rows = [_row(json.dumps(schema)) for schema in schemas]
    free = Row(SampleRequest("base", [5], max_tokens=3), slot=0, adapter_digest="", limits=LIMITS)
    _run([*rows[:2], free, *rows[2:]])
    assert [row.result().text for row in rows] == [f'"only {i}"' for i in range(5)]
    assert {row.result().finish_reason for row in rows} == {"stop"}


def test_any_object_is_a_schema_too() -> None:
    rows = [_row('{"type": "object"}', seed=i) for i in range(10)]
    _run(rows)
    ended = [row.result().text for row in rows if row.result().finish_reason == "stop"]
    assert ended
    assert all(isinstance(json.loads(text), dict) for text in ended)


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Note(BaseModel):
    """A note."""

    mood: Mood = Field(description="how it reads")
    at: tuple[int, bool]
    tag: Literal["x"] | None = None
    share: float = Field(ge=0, le=1)


class Notes(BaseModel):
    first: Note
    more: list[Note] = Field(max_length=2)
    counts: dict[str, int]


def test_what_pydantic_writes_can_be_held_to() -> None:
    rows = [_row(json.dumps(Notes.model_json_schema()), seed=i, max_tokens=600) for i in range(8)]
    _run(rows)
    ended = [row.result().text for row in rows if row.result().finish_reason == "stop"]
    assert ended
    for text in ended:
        Notes.model_validate_json(text)


def test_without_an_end_token_the_row_ends_with_its_text() -> None:
    limits = Limits(TOKENIZER, frozenset(), 4096, 262)
    row = _row('{"enum": ["a", "b"]}', limits=limits)
    _run([row])
    assert row.result().text in ('"a"', '"b"')
    assert row.result().finish_reason == "stop"


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ("nonsense", "is not JSON"),
        ("[" * 30_000, "nests deeper"),
        ('{"enum":["' + "x" * 40_000 + '"]}', "characters; at most"),
        ("[]", "must be an object"),
        ('{"$ref": "#"}', "allows no text"),
        ('{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}', "allows no text"),
        ('{"$ref": "#/default", "default": {"not": {}}}', "no schema stands at"),
        ('{"type": "object", "properties": {"a": {"oneOf": []}}}', '#/properties/a: "oneOf"'),
        ('{"type": "thing"}', 'unknown type "thing"'),
        ('{"type": "object", "required": ["b"]}', 'names "b", no property'),
        ('{"type": "string", "pattern": "(["}', "Unclosed"),
        ('{"type": "string", "pattern": "a$b"}', r'"\$" is not supported there'),
        ('{"type": "string", "pattern": "(a{0,3000}){0,3000}"}', "repeat more than"),
        ('{"type": "string", "pattern": "a", "maxLength": 3}', "not two of them"),
        ('{"type": "string", "format": "poem"}', 'unknown format "poem"'),
        ('{"type": "string", "maxLength": -1}', '"maxLength" must be'),
        ('{"type": "string", "enum": [1]}', "1 is not of type string"),
        ('{"enum": []}', '"enum" must be a list of 1'),
        ('{"enum": ' + json.dumps(list(range(2000))) + "}", "must be a list of 1 to 1000"),
    ],
)
def test_schemas_that_cannot_be_held_to_are_refused(schema: str, named: str) -> None:
    with pytest.raises(BadRequest, match=named) as refusal:
        _row(schema)
    assert refusal.value.field == "response_format"


WORDS = [
    "$ref", "$defs", "type", "properties", "required", "additionalProperties", "items", "anyOf",
    "prefixItems", "minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "enum",
    "const", "minimum", "exclusiveMaximum", "not", "title",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["#", "#/$defs/a", "string", "integer", "object", "array", "(a|b)*", "date"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*WORDS, "a"]), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(schema=st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4))
def test_any_schema_is_taken_or_refused(schema: dict[str, Any]) -> None:
    try:
        row = _row(json.dumps(schema), max_tokens=10)
    except BadRequest:
        return
    _run([row])
