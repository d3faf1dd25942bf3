"""Structured output: a pydantic model to a strict JSON schema, and an answer back to an instance.

Strict means what OpenAI means by it: objects take no other properties and need all of theirs,
there are no defaults, and a `$ref` stands alone.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from actors.lm.messages import Message, assistant, user

_FENCED = re.compile(r"\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_MOST_PROBLEMS = 8
JSON_MODE = {"type": "json_object"}  # any JSON: which, the prompt has to say


class InvalidAnswer(Exception):
    """An answer that does not fit the schema; the message says what is wrong with it."""


@lru_cache
def response_format(schema: type[BaseModel]) -> dict[str, Any]:
    """The request's `response_format` for answers that fit `schema`."""
    root = schema.model_json_schema()
    json_schema = {"name": schema.__name__, "strict": True, "schema": _strict(root, root)}
    return {"type": "json_schema", "json_schema": json_schema}


def parse_answer(text: str, schema: type[BaseModel]) -> BaseModel:
    """The instance in `text`, code fences around it or not; InvalidAnswer when there is none."""
    fenced = _FENCED.fullmatch(text)
    try:
        return schema.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        problems = [_problem(detail) for detail in details[:_MOST_PROBLEMS]]
        raise InvalidAnswer("; ".join(problems)) from None


def asked_again(messages: Sequence[Message], text: str, complaint: str) -> list[Message]:
    """The conversation that asks again after the answer `text` did not fit."""
    request = (
        f"That answer does not fit the JSON schema: {complaint}. "
        "Answer again with nothing but JSON that fits it."
    )
    return [*messages, assistant(text), user(request)]


def _problem(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else detail["msg"]


def _strict(node: Any, root: dict[str, Any]) -> Any:
    """`node` of the schema `root`, made strict."""
    if isinstance(node, list):
        return [_strict(item, root) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and len(node) > 1:
        # A reference may have no siblings (a description, say): put what it names in its place.
        target = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return _strict({**target, **siblings}, root)
    strict = {key: _strict(value, root) for key, value in node.items() if key != "default"}
    for key in ("properties", "$defs"):  # their keys are names, "default" among them
        if key in node:
            strict[key] = {name: _strict(value, root) for name, value in node[key].items()}
    if strict.get("type") == "object":
        if "properties" not in strict:
            raise TypeError(f"a free-form mapping has no strict schema: {node}")
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    return strict
