"""The content address of a call, and of its answer."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def call_key(provider_name: str, body: Mapping[str, Any], sample: int) -> str:
    """Hex SHA-256 of all that determines an answer, whatever the order of the body's fields.

    `body` is what is sent: model, messages, schema, sampling, provider options.
    """
    determinants = {"provider": provider_name, "body": body, "sample": sample}
    # ASCII: half of a surrogate pair has no UTF-8, but is told apart all the same.
    text = json.dumps(determinants, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def answer_digest(answer: bytes) -> str:
    """Hex SHA-256 of a stored answer."""
    return hashlib.sha256(answer).hexdigest()
