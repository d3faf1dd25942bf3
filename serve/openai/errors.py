"""Every error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

| status | what |
| --- | --- |
| 400 | a field that is wrong or not supported: `param` names it; an adapter that is refused |
| 401, 403 | no key or a wrong one; a key without the rights |
| 404, 405 | no such model, adapter or route |
| 413, 415 | a body that is too large, or not JSON |
| 429, 503 | full, or nobody there: `Retry-After` says when to ask again |
| 500 | an adapter whose numbers are not finite (no use in asking again), or a fault of ours |
"""

import json
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from serve.calls import Overloaded, Unavailable
from serve.openai.shapes import ErrorReply
from serve.paths import AbsentAdapter, RefusedPath

_BAD = "invalid_request_error"
_SECONDS_UNTIL_REPLACED = 5  # about what a replica takes to come back
_NEVER_AGAIN = {"x-should-retry": "false"}  # OpenAI's clients would ask a 500 again
_CLOSED = {"Connection": "close"}  # the HTTP server drops it after a fault, once it is logged
# Fields of a call that the client knows by another name.
_CHAT_NAMES = {"prompt": "messages", "json_schema": "response_format"}
_COMPLETION_NAMES = {
    "json_schema": "response_format",
    "top_logprobs": "logprobs",
    "prompt_logprobs": "logprobs",
}


@dataclass(frozen=True)
class Failure:
    """An error as the client is told of it."""

    status: int
    message: str
    kind: str = _BAD
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    is_ours: bool = False  # nothing that a client or an adapter can cause

    @property
    def body(self) -> ErrorReply:
        """OpenAI's shape."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """The whole answer."""
        content = json.dumps(self.body)
        return Response(content, self.status, self.headers, media_type="application/json")


class Refused(Exception):
    """Raised where the failure is known already."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def told(error: Exception, path: str = "") -> Failure:
    """What the client is told of an error, whatever it is; a field as it is called at `path`."""
    match error:
        case Refused():
            return error.failure
        case UnknownAdapter():
            param = "lora_name" if path.endswith("_lora_adapter") else "model"
            return Failure(404, str(error), param=param, code="model_not_found")
        case BadRequest():
            names = _CHAT_NAMES if path.endswith("/chat/completions") else _COMPLETION_NAMES
            param = error.field and names.get(error.field, error.field)
            return Failure(400, f"{error}.", param=param)
        case AbsentAdapter():
            return Failure(404, f"{error}.", param="lora_path", code="adapter_not_found")
        case RefusedPath():
            return Failure(400, f"{error}.", param="lora_path", code="adapter_refused")
        case RefusedAdapter():
            return Failure(400, f"{error}.", param="lora_name", code="adapter_refused")
        case BrokenAdapter():
            return Failure(500, f"{error}.", "broken_adapter", "model", headers=_NEVER_AGAIN)
        case Overloaded():
            wait = {"Retry-After": str(max(1, round(error.retry_after_s)))}
            return Failure(429, f"{error}.", "rate_limit_error", None, "overloaded", wait)
        case Unavailable():
            wait = {"Retry-After": str(_SECONDS_UNTIL_REPLACED)}
            return Failure(503, f"{error}.", "server_error", None, "unavailable", wait)
        case RequestValidationError():
            return _invalid(error.errors()[0])
        case HTTPException(detail="There was an error parsing the body"):
            text = "The body cannot be read as JSON: nested too deeply, or a number too long."
            return Failure(400, text, param="body")
        case HTTPException():
            return Failure(error.status_code, f"{error.detail}.", headers=dict(error.headers or {}))
    text = f"The server failed on this request ({type(error).__name__}); its log says why."
    return Failure(500, text, "server_error", headers=_CLOSED, is_ours=True)


def _invalid(first: dict[str, Any]) -> Failure:
    # List positions and inner fields follow the field.
    place = [str(part) for part in first["loc"][1:]]
    field_name = place[0] if place else "body"
    if first["type"] == "json_invalid":
        return Failure(400, "The body is not valid JSON.", param="body")
    if first["type"] == "extra_forbidden":
        return Failure(400, f'Field "{".".join(place)}" is not supported.', param=field_name)
    reason = first["msg"].removeprefix("Value error, ")
    return Failure(400, f'Field "{".".join(place) or "body"}": {reason}.', param=field_name)
