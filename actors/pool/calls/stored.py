"""An answer as the books keep it: JSON bytes, read back into a completion of another request."""

import json
from dataclasses import fields
from typing import Any

from actors.pool.calls.structured import parse_answer
from actors.pool.requests import ChatRequest, Completion, TokenLogprob

_OF_THE_CALL = {"key", "value", "cached"}  # the asker's own, or made again from the text
_KEPT = tuple(f.name for f in fields(Completion) if f.name not in _OF_THE_CALL)


def to_bytes(completion: Completion) -> bytes:
    """What is kept of an answer."""
    kept = {name: getattr(completion, name) for name in _KEPT}
    return json.dumps(kept, separators=(",", ":")).encode()


def from_bytes(stored: bytes, request: ChatRequest) -> Completion:
    """The stored answer as the completion of `request`; nothing was paid for it this time."""
    kept: dict[str, Any] = json.loads(stored)
    if kept["logprobs"] is not None:
        kept["logprobs"] = [[TokenLogprob(*t) for t in tokens] for tokens in kept["logprobs"]]
    fits = request.schema if not kept["refusal"] else None
    kept["value"] = None if fits is None else parse_answer(kept["text"], fits)
    kept |= {"key": request.key, "cost_usd": 0.0, "cached": True}
    return Completion(**kept)
