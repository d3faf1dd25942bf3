"""What a single JSON schema may say, so that text which meets its grammar meets the schema too.

The grammar compiler passes over keywords that it does not know, and over some where they stand
beside others. What is not in these tables is refused.
"""

import json
import re
from collections.abc import Set
from typing import Any

_MOST_ALTERNATIVES = 1_000
_MOST_PATTERN_CHARACTERS = 256
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
_TYPE_NAMES: dict[type, tuple[str, ...]] = {
    str: ("string",), bool: ("boolean",), type(None): ("null",), list: ("array",),
    dict: ("object",), int: ("integer", "number"), float: ("number",),
}  # fmt: skip


def problem_of(schema: Any, places: Set[str]) -> str | None:
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
