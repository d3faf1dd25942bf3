"""An outcome as the books keep it: JSON bytes, read back into the outcome of another request."""

import json
from dataclasses import fields
from typing import Any

from actors.pool.calls.structured import parse_answer
from actors.pool.requests import ChatRequest, Completion, Failure, TokenLogprob

_OF_THE_CALL = {"key", "value", "cached"}  # the asker's own, or made again from the text
_KEPT = tuple(f.name for f in fields(Completion) if f.name not in _OF_THE_CALL)
_FOR_GOOD = ("rejected", "invalid")  # the other kinds pass, as the weather does


def to_bytes(completion: Completion) -> bytes:
    """What is kept of an answer."""
    kept = {name: getattr(completion, name) for name in _KEPT}
    return json.dumps(kept, separators=(",", ":")).encode()


def from_bytes(stored: bytes, request: ChatRequest) -> Completion:
    """The stored answer as the completion of `request`; nothing was paid for it this time.

    Raises:
        InvalidAnswer: it does not fit the schema of `request`. Keys tell schemas apart by their
            JSON; what a validator in Python asks for may have changed since.
    """
    kept: dict[str, Any] = json.loads(stored)
    if kept["logprobs"] is not None:
        kept["logprobs"] = [[TokenLogprob(*t) for t in tokens] for tokens in kept["logprobs"]]
    fits = request.schema if not kept["refusal"] else None
    kept["value"] = None if fits is None else parse_answer(kept["text"], fits)
    kept |= {"key": request.key, "cost_usd": 0.0, "cached": True}
    return Completion(**kept)


def failure_to_bytes(failure: Failure) -> bytes | None:
    """What is kept of a failure for a replay; None where asking again may well mend it."""
    if failure.kind not in _FOR_GOOD:
        return None
    kept = {
        "kind": failure.kind,
        "message": failure.message,
        "attempts": failure.attempts,
        "expected": failure.expected,
    }
    return json.dumps(kept, separators=(",", ":")).encode()


def failure_from_bytes(stored: bytes, request: ChatRequest) -> Failure:
    """The stored failure as that of `request`; nothing was paid for it this time."""
    return Failure(key=request.key, cost_usd=0.0, cached=True, **json.loads(stored))
