"""Replies as bytes: an honest completion, or the shape that each fault has on the wire."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from actors.pool.endpoint.faults import CONTENT_FAULTS, FaultConfig, FaultKind
from actors.pool.endpoint.numbers import logprobs
from actors.pool.endpoint.request import BadRequest, Parsed

Answer = Callable[[Mapping[str, Any]], str]

_CHARACTERS_PER_TOKEN = 4
# HTTP status, `error.type`, message
_STATUS_FAULTS = {
    "rate_limited": (429, "rate_limit_error", "Rate limit reached. Try again later."),
    "server_error": (503, "server_error", "The server is overloaded."),
    "unauthorized": (401, "invalid_request_error", "Incorrect API key provided."),
    "out_of_credit": (402, "insufficient_credits", "Insufficient credits."),
    "not_found": (404, "invalid_request_error", "No endpoints found for this model."),
}
_WRAPPED_STATUS = {"error_object": 429, "wrapped_500": 500, "wrapped_504": 504}


class Reply(NamedTuple):
    """What goes back."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    cost_usd: float | None = None  # None: not billed
    cut: bool = False  # the connection closes in the middle of the body


def bad_request(problem: BadRequest) -> Reply:
    """400 in OpenAI's shape."""
    return _error(400, "invalid_request_error", problem.message, problem.param)


def reply(
    request: Parsed, fault: FaultKind | None, config: FaultConfig, digest: bytes, answer: Answer
) -> Reply:
    """The reply to a well-formed request that meets `fault` (`stall` never gets here)."""
    if fault in _STATUS_FAULTS:
        status, kind, message = _STATUS_FAULTS[fault]
        waits = config.retry_after_s if status in (429, 503) else None
        return _error(status, kind, message, retry_after_s=waits)
    if fault in _WRAPPED_STATUS:
        message = "The upstream provider failed."
        error = {"code": _WRAPPED_STATUS[fault], "message": message}
        return Reply(200, _bytes({"error": error}))
    if fault == "not_json":
        return Reply(200, b"<html><body>Bad gateway</body></html>")
    return _completion(request, fault, config, digest, answer)


def _completion(
    request: Parsed, fault: FaultKind | None, config: FaultConfig, digest: bytes, answer: Answer
) -> Reply:
    texts = [answer(_question(request, i)) for i in range(request.n)]
    if fault in CONTENT_FAULTS and request.has_schema:
        texts = [_spoiled(text, fault) for text in texts]
    choices = [_choice(request.body, i, text, fault) for i, text in enumerate(texts)]
    if request.body.get("logprobs") and not config.no_logprobs:
        for choice in choices:
            choice["logprobs"] = logprobs(request.body, choice["message"]["content"] or "")
    body: dict[str, Any] = {
        "id": f"chatcmpl-{digest.hex()}",
        "object": "chat.completion",
        "created": 0,  # the same request gets the same bytes
        "model": request.body["model"],
        "choices": [] if fault == "empty_choices" else choices,
    }
    billed = fault not in ("empty_choices", "empty_content", "null_finish", "error_finish", "reset")
    if billed:
        body["usage"] = _usage(request.body, choices, config.cost_usd)
    cost_usd = config.cost_usd if billed else None
    return Reply(200, _bytes(body), cost_usd=cost_usd, cut=fault == "reset")


def _question(request: Parsed, choice: int) -> Mapping[str, Any]:
    """What the rules see: the question that was asked first, with a seed of each choice's own.

    A complaint about the form of an answer adds nothing to the question.
    """
    body = request.body
    if request.asked_again:
        roles = [message["role"] for message in body["messages"]]
        body = {**body, "messages": body["messages"][: roles.index("assistant")]}
    return {**body, "seed": (body.get("seed") or 0) + choice} if choice else body


def _choice(
    body: Mapping[str, Any], index: int, text: str, fault: FaultKind | None
) -> dict[str, Any]:
    limit = (body.get("max_tokens") or len(text)) * _CHARACTERS_PER_TOKEN
    finish: str | None = "stop" if len(text) <= limit else "length"
    message: dict[str, Any] = {"role": "assistant", "content": text[:limit]}
    if fault == "refusal":
        message.update(content=None, refusal="I can't help with that.")
    elif fault == "content_filter":
        message["content"], finish = "", "content_filter"
    elif fault == "empty_content":
        message["content"] = ""
    elif fault == "null_finish":
        finish = None
    elif fault == "error_finish":
        message["content"], finish = "", "error"
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": None}


def _spoiled(text: str, fault: FaultKind | None) -> str:
    if fault == "truncated":
        return text[: len(text) // 2]
    if fault == "malformed":
        return "Here is what you asked for: " + text.replace('"', "'")
    return json.dumps({"unexpected": True})


def _usage(
    body: Mapping[str, Any], choices: list[dict[str, Any]], cost_usd: float
) -> dict[str, Any]:
    prompt = sum(_tokens(message["content"]) for message in body["messages"])
    completion = sum(_tokens(choice["message"]["content"] or "") for choice in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "cost": cost_usd,
    }


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def _error(
    status: int,
    kind: str,
    message: str,
    param: str | None = None,
    retry_after_s: float | None = None,
) -> Reply:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if retry_after_s is not None:
        headers = ((b"retry-after", f"{retry_after_s:g}".encode()),)
    error = {"message": message, "type": kind, "param": param, "code": status}
    return Reply(status, _bytes({"error": error}), headers)


def _bytes(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
