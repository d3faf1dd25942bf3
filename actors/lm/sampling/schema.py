"""Which JSON schemas a row can be held to: those that the grammar compiler keeps to the letter.

It passes over keywords that it does not know: those are refused by name. It takes minutes over
schemas of certain shapes and cannot be stopped: size, nesting and repeats are bounded.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from actors.lm.refusals import BadRequest
from actors.lm.sampling.keywords import problem_of

FIELD = "response_format"
_MOST_CHARACTERS = 32_768
_MOST_NESTING = 32
_REPEAT = re.compile(r"\{(\d+),?(\d*)\}")
_MOST_REPEATS = 1_024  # of all patterns together


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
        if problem := problem_of(part, places):
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


def _repeats(pattern: str) -> int:
    """How often the pattern may repeat anything: its {n,m} as if each stood in the next."""
    return math.prod(max(1, int(most or least)) for least, most in _REPEAT.findall(pattern))
