"""A stored answer as a line of JSON, as exports and journals carry it."""

import json
from typing import Any

from actors.pool.books.entries import Answering
from actors.pool.books.store import Row


def row_to_json(row: Row) -> dict[str, Any]:
    """Plain data; the answer and the request are JSON themselves and stay readable."""
    return {
        "key": row.key,
        "provider": row.provider,
        "model": row.model,
        "created_s": row.created_s,
        "request": None if row.request is None else json.loads(row.request),
        "answer": json.loads(row.answer),
    }


def row_from_json(fields: Any) -> Row:
    """The row; ValueError where it is none."""
    try:
        key, provider, model = fields["key"], fields["provider"], fields["model"]
        created_s = float(fields["created_s"])
        request, answer = fields["request"], fields["answer"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no stored call: {error!r}") from None
    if not (all(isinstance(text, str) for text in (key, provider, model)) and answer is not None):
        raise ValueError("no stored call: key, provider and model are texts, answer is not null")
    asked = None if request is None else _bytes(request)
    return Row(key, provider, model, asked, _bytes(answer), created_s)


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
