"""Read a chat-completion request, or say which field is wrong as OpenAI would.

Hand-written checks: the endpoint answers thousands of requests a second in benchmarks.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from actors.pool.calls.prompted import without_schema

_ROLES = frozenset({"system", "developer", "user", "assistant"})
_SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_CHOICES = 128
_MAX_ALTERNATIVES = 20


class BadRequest(Exception):
    """The request cannot be answered; `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param = message, param


class Parsed(NamedTuple):
    """A request that is well-formed. A schema in the prompt stands in `response_format` here."""

    body: Mapping[str, Any]
    n: int
    has_schema: bool
    asked_again: bool  # the client complained about an earlier answer's form
    sent_format: str | None  # the type of `response_format` as it was sent


def parse_request(raw: bytes) -> Parsed:
    """The request in `raw`; BadRequest when its shape is wrong."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise BadRequest("You must provide a model parameter, a string.", "model")
    if body.get("stream"):
        raise BadRequest("This endpoint does not stream.", "stream")
    _check_messages(body.get("messages"))
    _check_numbers(body)
    sent_format = _check_response_format(body.get("response_format"))
    if sent_format != "json_schema":
        body = _unprompted(body) or body
    has_schema = _check_response_format(body.get("response_format")) == "json_schema"
    asked_again = has_schema and any(m["role"] == "assistant" for m in body["messages"])
    return Parsed(body, body.get("n") or 1, has_schema, asked_again, sent_format)


def _unprompted(body: dict[str, Any]) -> dict[str, Any] | None:
    """The request as it would be with its schema in `response_format`; None without one."""
    messages = body["messages"]
    for i, message in enumerate(messages):
        if message["role"] == "user" and (found := without_schema(message["content"])):
            content, form = found
            asked = [*messages[:i], {**message, "content": content}, *messages[i + 1 :]]
            return {**body, "messages": asked, "response_format": form}
    return None


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a non-empty list.", "messages")
    for i, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in _ROLES:
            raise BadRequest(f"messages[{i}] needs a known role.", f"messages[{i}].role")
        if not isinstance(message.get("content"), str):
            raise BadRequest(f"messages[{i}] needs content, a string.", f"messages[{i}].content")


def _check_numbers(body: Mapping[str, Any]) -> None:
    _check_number(body, "temperature", float, 0, 2)
    _check_number(body, "top_p", float, 0, 1)
    _check_number(body, "n", int, 1, _MAX_CHOICES)
    _check_number(body, "seed", int, -(2**63), 2**63 - 1)
    _check_number(body, "max_tokens", int, 1, 2**31)
    _check_number(body, "top_logprobs", int, 0, _MAX_ALTERNATIVES)
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        raise BadRequest("top_logprobs needs logprobs: true.", "top_logprobs")


def _check_number(body: Mapping[str, Any], name: str, kind: type, low: float, high: float) -> None:
    value = body.get(name)
    if value is None:
        return
    is_number = isinstance(value, int if kind is int else int | float) and value is not True
    if not is_number or value is False or not low <= value <= high:
        raise BadRequest(f"{name} must be a number between {low} and {high}.", name)


def _check_response_format(value: Any) -> str | None:
    """The type of the answer's form that is asked for, if any."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("text", "json_object"):
        return kind
    if kind != "json_schema":
        raise BadRequest("response_format.type is unknown.", "response_format.type")
    where = "response_format.json_schema"
    schema = value.get("json_schema")
    if not isinstance(schema, dict):
        raise BadRequest("json_schema must be an object.", where)
    name = schema.get("name")
    if not isinstance(name, str) or not _SCHEMA_NAME.fullmatch(name):
        raise BadRequest(
            "json_schema.name must be 1 to 64 of a-z, A-Z, 0-9, _, -.", f"{where}.name"
        )
    if not isinstance(schema.get("schema"), dict):
        raise BadRequest("json_schema.schema must be an object.", f"{where}.schema")
    return kind
