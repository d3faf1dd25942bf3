"""Which JSON schemas a row can be held to: those that the grammar compiler keeps to the letter.

The compiler passes over keywords that it does not know, and over some that stand beside others:
text that meets its grammar would then break the schema. It also takes minutes over schemas of
certain shapes and cannot be stopped. Both are refused here by name.
"""

import json
import math
import re
from collections.abc import Iterator, Set
from typing import Any

from actors.lm.refusals import BadRequest

FIELD = "response_format"
_MOST_CHARACTERS = 32_768
_MOST_NESTING = 32
_MOST_ALTERNATIVES = 1_000
_MOST_PATTERN_CHARACTERS = 256
_MOST_REPEATS = 1_024  # of all patterns together
_MOST_COUNT = 2**31 - 1

_NOTES = {
    "$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description",
    "examples", "readOnly", "title", "writeOnly",
}  # fmt: skip
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_OF_TYPE = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": _BOUNDS,
    "number": _BOUNDS,
    "boolean": set[str](),
    "null": set[str](),
}
_COUNTS = {"minItems", "maxItems", "minLength", "maxLength"}
_FORMATS = {
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "json-pointer",
    "relative-json-pointer", "time", "uri", "uri-reference", "uri-template", "uuid",
}  # fmt: skip
_REPEAT = re.compile(r"\{(\d+),?(\d*)\}")
_TYPE_NAMES: dict[type, tuple[str, ...]] = {
    str: ("string",), bool: ("boolean",), type(None): ("null",), list: ("array",),
    dict: ("object",), int: ("integer", "number"), float: ("number",),
}  # fmt: skip


def check_schema(text: str) -> None:
    """BadRequest unless the JSON schema can be held to; the message names the place and why."""
    if len(text) > _MOST_CHARACTERS:
        raise _refusal(f"has {len(text)} characters; at most {_MOST_CHARACTERS}")
    try:
        schema = json.loads(text)
        if _nesting(schema) > _MOST_NESTING:
            raise _refusal(f"nests deeper than {_MOST_NESTING}")
    except RecursionError:
        raise _refusal(f"nests deeper than {_MOST_NESTING}") from None
    except ValueError as error:
        raise _refusal(f"is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise _refusal("must be an object")
    parts = list(_parts(schema, "#"))
    places = {place for place, _ in parts}
    for place, part in parts:
        if problem := _problem(part, places):
            raise _refusal(f"{place}: {problem}")
    patterns = [
        part["pattern"] for _, part in parts if isinstance(part, dict) and "pattern" in part
    ]
    if sum(map(_repeats, patterns)) > _MOST_REPEATS:
        raise _refusal(f"has patterns that repeat more than {_MOST_REPEATS} times")


def _refusal(problem: str) -> BadRequest:
    return BadRequest(f"the JSON schema {problem}", FIELD)


def _nesting(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_nesting, inner), default=0)


def _parts(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    """A schema and all the schemas in it, with where they stand."""
    yield place, schema
    if not isinstance(schema, dict):
        return
    for keyword in ("$defs", "definitions", "properties"):
        named = schema.get(keyword, {})
        if isinstance(named, dict):
            for name, part in named.items():
                yield from _parts(part, f"{place}/{keyword}/{name}")
    for keyword in ("anyOf", "prefixItems"):
        listed = schema.get(keyword, [])
        for i, part in enumerate(listed if isinstance(listed, list) else []):
            yield from _parts(part, f"{place}/{keyword}/{i}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from _parts(schema[keyword], f"{place}/{keyword}")


def _problem(schema: Any, places: Set[str]) -> str | None:
    """Why this one schema, apart from those in it at `places`, cannot be held to."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return "a schema must be an object"
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if unknown := [name for name in types if name not in list(_OF_TYPE)]:
        return f"unknown type {json.dumps(unknown[0])}"
    said = schema.keys() - _NOTES
    for alone in ("$ref", "anyOf", "enum", "const"):
        if alone in said:
            if beside := said - {alone} - ({"type"} if alone in ("enum", "const") else set()):
                return f'"{min(beside)}" beside "{alone}" is not supported'
            if alone == "$ref":
                lost = schema["$ref"] not in list(places)
                return f"no schema stands at {json.dumps(schema['$ref'])}" if lost else None
            return _problem_of_values(schema, alone, types)
    if extra := said - {"type"}.union(*(_OF_TYPE[name] for name in types)):
        return f'"{min(extra)}" is not supported for {" or ".join(types) or "no type"}'
    return _problem_of_object(schema) or _problem_of_string(schema) or _problem_of_array(schema)


def _problem_of_values(schema: dict[str, Any], keyword: str, types: list[str]) -> str | None:
    values = [schema["const"]] if keyword == "const" else schema[keyword]
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_ALTERNATIVES:
        return f'"{keyword}" must be a list of 1 to {_MOST_ALTERNATIVES}'
    if types and keyword != "anyOf" and (odd := [v for v in values if not _is_of(v, types)]):
        return f"{json.dumps(odd[0])} is not of type {' or '.join(types)}"
    return None


def _is_of(value: Any, types: list[str]) -> bool:
    if isinstance(value, float) and value.is_integer():
        return "number" in types or "integer" in types
    names = _TYPE_NAMES[type(value)]
    return any(name in types for name in names)


def _problem_of_object(schema: dict[str, Any]) -> str | None:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or len(properties) > _MOST_ALTERNATIVES:
        return f'"properties" must be an object of at most {_MOST_ALTERNATIVES}'
    if not isinstance(required, list):
        return '"required" must be a list'
    missing = [name for name in required if name not in list(properties)]
    return f'"required" names {json.dumps(missing[0])}, no property' if missing else None


def _problem_of_array(schema: dict[str, Any]) -> str | None:
    listed = schema.get("prefixItems", [None])
    return None if isinstance(listed, list) and listed else '"prefixItems" must be a list'


def _problem_of_string(schema: dict[str, Any]) -> str | None:
    for name in _COUNTS & schema.keys():
        count = schema[name]
        if not isinstance(count, int) or not 0 <= count <= _MOST_COUNT:
            return f'"{name}" must be an integer in 0..{_MOST_COUNT}'
    shapes = schema.keys() & {"pattern", "format"}
    if len(shapes) > 1 or (shapes and schema.keys() & {"minLength", "maxLength"}):
        return "a string has a pattern, a format, or lengths, not two of them"
    if "format" in shapes and schema["format"] not in list(_FORMATS):
        return f"unknown format {json.dumps(schema['format'])}"
    return _problem_of_pattern(schema["pattern"]) if "pattern" in shapes else None


def _problem_of_pattern(pattern: Any) -> str | None:
    if not isinstance(pattern, str) or len(pattern) > _MOST_PATTERN_CHARACTERS:
        return f"a pattern must be text of at most {_MOST_PATTERN_CHARACTERS} characters"
    inner = re.sub(r"\\[^xuc\\]|\[\^", "", pattern.removeprefix("^").removesuffix("$"))
    if found := re.search(r'[\\"^$\x00-\x1f]', inner):
        return f"{json.dumps(found[0])} is not supported there in a pattern"
    return None


def _repeats(pattern: str) -> int:
    """How often the pattern may repeat anything: its {n,m} as if each stood in the next."""
    return math.prod(max(1, int(most or least)) for least, most in _REPEAT.findall(pattern))
