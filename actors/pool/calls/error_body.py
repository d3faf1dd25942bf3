"""What the body of a refused call says, in the shapes that providers give it."""

from collections.abc import Mapping
from typing import Any

_MODERATED = frozenset({"content_filter", "content_policy_violation"})


def error_object(body: Any) -> Mapping[str, Any]:
    """The error object of a body, or the body that is one; empty where there is neither."""
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        return body["error"]
    return body if isinstance(body, Mapping) else {}


def error_message(body: Any) -> str:
    """What an error body says, in one short line."""
    message = error_object(body).get("message") or body or "no message"
    return " ".join(str(message).split())[:300]


def wrapped_status(error: Any) -> int | None:
    """The status that an error object carries, if its code is one."""
    code = str(error_object(error).get("code"))
    return int(code) if code.isascii() and code.isdecimal() and len(code) == 3 else None


def is_moderated(status: int | None, error: Any) -> bool:
    """Whether an error says that the input was flagged: a refusal, as a content filter's.

    `status` is None for an error inside an HTTP 200 that carries none.
    """
    error = error_object(error)
    metadata = error.get("metadata")
    flagged = isinstance(metadata, Mapping) and "flagged_input" in metadata
    return status in (None, 400, 403) and (flagged or str(error.get("code")) in _MODERATED)
