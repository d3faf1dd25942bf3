"""A stored answer or failure as a line of JSON, as exports and journals carry it."""

import json
from typing import Any

from actors.pool.books.entries import Answering
from actors.pool.books.store import Row


def row_to_json(row: Row) -> dict[str, Any]:
    """Plain data; answer, failure and request are JSON themselves and stay readable."""
    outcome, said = ("answer", row.answer) if row.failure is None else ("failure", row.failure)
    assert said is not None
    return {
        "key": row.key,
        "provider": row.provider,
        "model": row.model,
        "created_s": row.created_s,
        "request": None if row.request is None else json.loads(row.request),
        outcome: json.loads(said),
    }


def row_from_json(fields: Any) -> Row:
    """The row; ValueError where it is none."""
    try:
        key, provider, model = fields["key"], fields["provider"], fields["model"]
        created_s = float(fields["created_s"])
        request, answer, failure = fields["request"], fields.get("answer"), fields.get("failure")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no stored call: {error!r}") from None
    if not all(isinstance(text, str) for text in (key, provider, model)):
        raise ValueError("no stored call: key, provider and model are texts")
    if (answer is None) == (failure is None):
        raise ValueError("no stored call: it has either an answer or a failure")
    said = (None if value is None else _bytes(value) for value in (request, answer, failure))
    asked, answered, failed = said
    return Row(key, provider, model, asked, answered, created_s, failed)


def answering_to_json(answering: Answering) -> dict[str, Any]:
    """What stands for a provider."""
    return {
        "default_model": answering.default_model,
        "schema_options": dict(answering.schema_options),
    }


def answering_from_json(name: str, fields: Any) -> Answering:
    """The same, read back; ValueError where it is none."""
    if not isinstance(fields, dict) or not isinstance(fields.get("schema_options"), dict):
        raise ValueError(f"no description of provider {name}")
    return Answering(name, fields.get("default_model"), fields["schema_options"])


def _bytes(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
