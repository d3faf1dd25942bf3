"""Read the body of an HTTP 200: an answer, or one of the failures that arrive as 200."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from actors.pool.calls.error_body import error_message, is_moderated, wrapped_status
from actors.pool.calls.retry import Trouble, wrapped_trouble
from actors.pool.requests import TokenLogprob

_LARGEST_AMOUNT = 1e12
_ROUNDING = 1e-3  # by which a logarithm of a probability may lie above zero
_Said = tuple[str, bool, str]  # text, refusal, finish_reason


class Answer(NamedTuple):
    """What a model said. A refusal or a content filter is an answer too."""

    text: str
    refusal: bool
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    model: str | None
    # The alternatives at each token; None where the endpoint gave none.
    logprobs: tuple[tuple[TokenLogprob, ...], ...] | None = None
    cost_is_stated: bool = True  # by the endpoint; where it is not, prices have to tell


def read_answer(raw: bytes) -> Answer | Trouble:
    """The answer in the body `raw`, or why it holds none."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return _server("HTTP 200 whose body is not JSON", maybe_billed=True)
    if not isinstance(body, Mapping):
        return _server("HTTP 200 whose body is no object", maybe_billed=True)
    usage = _mapping(body.get("usage"))
    cost_usd, cost_is_stated = _amount(usage.get("cost")), usage.get("cost") is not None
    tokens = int(_amount(usage.get("prompt_tokens"))), int(_amount(usage.get("completion_tokens")))
    found = _read_error(body["error"]) if body.get("error") else _read_choices(body.get("choices"))
    if isinstance(found, Trouble):
        is_told = cost_is_stated or any(tokens)
        return found._replace(
            cost_usd=cost_usd,
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
            cost_is_stated=cost_is_stated or not any(tokens),
            # An error in place of choices is billed no more than any other; a model that said
            # nothing of use may be.
            maybe_billed=not is_told and (found.maybe_billed or not body.get("error")),
        )
    text, refusal, finish_reason = found
    return Answer(
        text,
        refusal,
        finish_reason,
        *tokens,
        cost_usd,
        body["model"] if isinstance(body.get("model"), str) else None,
        None if refusal else _read_logprobs(body["choices"][0].get("logprobs")),
        cost_is_stated,
    )


def flagged(error: Any) -> Answer:
    """The refusal that an error about flagged input is."""
    return Answer(*_flagged(error), 0, 0, 0.0, None)


def _flagged(error: Any) -> _Said:
    return error_message(error), True, "content_filter"


def _read_error(error: Any) -> _Said | Trouble:
    return _flagged(error) if is_moderated(wrapped_status(error), error) else wrapped_trouble(error)


def _read_choices(choices: Any) -> _Said | Trouble:
    if not isinstance(choices, list) or not choices:
        return _server("HTTP 200 without choices")
    choice = _mapping(choices[0])
    finish_reason = choice.get("finish_reason")
    if choice.get("error"):
        return _read_error(choice["error"])
    if not isinstance(finish_reason, str) or finish_reason == "error":
        return _server(f"HTTP 200 with finish_reason {finish_reason}")
    message = _mapping(choice.get("message"))
    text = message.get("content")
    if message.get("refusal"):
        return str(message["refusal"]), True, finish_reason
    if finish_reason == "content_filter":
        return text if isinstance(text, str) else "", True, finish_reason
    if not isinstance(text, str) or not text.strip():
        return _server(f"HTTP 200 with empty content (finish_reason {finish_reason})")
    return text, False, finish_reason


def _read_logprobs(logprobs: Any) -> tuple[tuple[TokenLogprob, ...], ...] | None:
    content = _mapping(logprobs).get("content")
    if not isinstance(content, list):
        return None
    tokens = tuple(_read_alternatives(_mapping(token).get("top_logprobs")) for token in content)
    return tokens if any(tokens) else None


def _read_alternatives(given: Any) -> tuple[TokenLogprob, ...]:
    each = [_mapping(alternative) for alternative in given] if isinstance(given, list) else []
    pairs = [(one.get("token"), one.get("logprob")) for one in each]
    return tuple(
        TokenLogprob(token, float(logprob))
        for token, logprob in pairs
        if isinstance(token, str)
        and isinstance(logprob, int | float)
        and -_LARGEST_AMOUNT < logprob <= _ROUNDING
    )


def _server(message: str, maybe_billed: bool = False) -> Trouble:
    return Trouble("retry", "server", message, maybe_billed=maybe_billed)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _amount(value: Any) -> float:
    """A count or a price; 0 where the endpoint gives none, or nonsense."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LARGEST_AMOUNT else 0.0
