"""A valid instance of a JSON schema, made up by rule."""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from actors.lm.tiny.phrasebook import everyday

_MAX_DEPTH = 12
_UNSUPPORTED = ("pattern", "not", "if", "patternProperties", "uniqueItems", "contains", "format")


class UnsupportedSchema(ValueError):
    """A schema that asks for something these rules cannot make up; the message names it."""


def instance(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """JSON data that the schema accepts; UnsupportedSchema when it uses keywords unknown here."""
    try:
        return _Maker(schema, rng).make(schema, 0)
    except UnsupportedSchema:
        raise
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        # What no instance can meet: empty choices, crossed bounds, references to nowhere or itself.
        raise UnsupportedSchema(f"No instance of the schema can be made: {error}.") from None


class _Maker:
    """Walks one schema; `$ref`s point into it."""

    def __init__(self, root: Mapping[str, Any], rng: random.Random) -> None:
        self._root, self._rng = root, rng
        self._by_type: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda _schema, _depth: rng.random() < 0.5,
            "null": lambda _schema, _depth: None,
        }

    def make(self, schema: Any, depth: int) -> Any:
        if schema is True:
            return "anything"
        if depth > _MAX_DEPTH:
            raise UnsupportedSchema(f"The schema nests deeper than {_MAX_DEPTH} levels.")
        for keyword in _UNSUPPORTED:
            if schema.get(keyword):
                raise UnsupportedSchema(f'The schema keyword "{keyword}" is not supported here.')
        if "$ref" in schema:
            return self.make({**self._resolve(schema["$ref"]), **_without(schema, "$ref")}, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        if "allOf" in schema:
            return self.make(self._merged(schema), depth)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternative(schema[keyword], _without(schema, keyword), depth)
        return self._by_type[self._type(schema, depth)](schema, depth)

    def _resolve(self, reference: str) -> Mapping[str, Any]:
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else []:
            node = node[part.replace("~1", "/").replace("~0", "~")]
        return node

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        merged = _without(schema, "allOf")
        for part in schema["allOf"]:
            part = self._resolve(part["$ref"]) if "$ref" in part else part
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= part
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def _alternative(self, options: list[Any], rest: dict[str, Any], depth: int) -> Any:
        # A recursive schema ends where its simplest alternative is taken.
        by_size = sorted(options, key=lambda option: len(str(option)) + 999 * ("$ref" in option))
        return self.make(
            {**rest, **(by_size[0] if depth > 3 else self._rng.choice(options))}, depth + 1
        )

    def _type(self, schema: Mapping[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            return "null" if depth > 3 and "null" in kind else self._rng.choice(kind)
        if kind is None:
            implied = {"properties": "object", "items": "array", "minimum": "number"}
            return next((t for keyword, t in implied.items() if keyword in schema), "string")
        return kind

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        made = {
            name: self.make(part, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or depth <= 3
        }
        values = schema.get("additionalProperties", True)
        for name in required - made.keys():
            made[name] = self.make(values, depth + 1)
        while len(made) < schema.get("minProperties", 0):
            made[f"key{len(made)}"] = self.make(values, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        fixed = [self.make(part, depth + 1) for part in schema.get("prefixItems", ())]
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        wanted = least if depth > 3 else self._rng.randint(max(least, 1), max(least, 1) + 2)
        items = schema.get("items", True)
        if items is False:
            return fixed
        more = min(wanted, most) - len(fixed)
        return fixed + [self.make(items, depth + 1) for _ in range(int(max(0, more)))]

    def _string(self, schema: Mapping[str, Any], _depth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        sentences = everyday().filler
        text = self._rng.choice(sentences)
        while len(text) < least:
            text += " " + self._rng.choice(sentences)
        return text if len(text) <= most else text[: int(most)]

    def _integer(self, schema: Mapping[str, Any], _depth: int) -> int:
        step = schema.get("multipleOf", 1)
        low, high = _bounds(schema, 1)
        return step * self._rng.randint(math.ceil(low / step), math.floor(high / step))

    def _number(self, schema: Mapping[str, Any], depth: int) -> float:
        if "multipleOf" in schema:
            return self._integer(schema, depth)
        low, high = _bounds(schema, 0)
        # Strictly inside, so that exclusive bounds hold too; a single allowed value is itself.
        return low if low == high else low + (high - low) * self._rng.uniform(0.01, 0.99)


def _bounds(schema: Mapping[str, Any], margin: int) -> tuple[float, float]:
    """Smallest and largest value; exclusive bounds are moved inwards by the margin."""
    lows = [schema[k] + m for k, m in (("minimum", 0), ("exclusiveMinimum", margin)) if k in schema]
    highs = [
        schema[k] - m for k, m in (("maximum", 0), ("exclusiveMaximum", margin)) if k in schema
    ]
    low = max(lows) if lows else (min(highs) - 100 if highs else 0)
    return low, min(highs) if highs else low + 100


def _without(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != keyword}
