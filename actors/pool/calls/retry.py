"""What to do after an attempt that gave no answer, and how long to wait before the next one.

retry       the same request may work in a while
ask_again   the content did not fit the schema: ask with the complaint, at once
final       this request will never work; the others may
fatal       no request will work until the user mends something
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

from actors.pool.calls.error_body import error_message, error_object, wrapped_status
from actors.pool.requests import FailureKind

Action = Literal["retry", "ask_again", "final", "fatal"]

_FATAL = frozenset({401, 402, 403})
_SERVER_SIDE_4XX = frozenset({409, 425})  # a lock or a replay on their side: the request is fine
# A request was passed on, and nobody waited long enough to see what became of it.
_GAVE_UP_WAITING = frozenset({408, 502, 504, 524})
_RESET = "x-ratelimit-reset"
_NO_ENDPOINT = re.compile(
    r"no endpoints found that (?:can handle the requested parameters|support)", re.IGNORECASE
)


class Trouble(NamedTuple):
    """Why an attempt gave no answer, and what to do about it."""

    action: Action
    kind: FailureKind
    message: str
    retry_after_s: float | None = None
    status: int | None = None
    cost_usd: float = 0.0  # billed all the same
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_is_stated: bool = True  # or there is none; where it is not, prices have to tell
    text: str = ""  # the content that did not fit, where action is ask_again
    unreachable: bool = False  # no connection was made at all
    refuses_schema: bool = False  # response_format is not taken, at least not this one
    maybe_billed: bool = False  # it was sent, and how it ended over there nobody knows


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with full jitter; a server's own Retry-After comes first."""

    base_s: float = 0.5
    cap_s: float = 30.0
    retry_after_cap_s: float = 120.0

    def wait_s(self, attempt: int, trouble: Trouble, rng: random.Random) -> float:
        """Seconds to wait after attempt number `attempt` (from 1).

        Jitter on top of Retry-After keeps calls that were told the same from coming back at once.
        """
        if trouble.action == "ask_again" or trouble.refuses_schema:
            return 0.0
        jitter_s = rng.uniform(0, min(self.cap_s, self.base_s * 2 ** min(attempt - 1, 30)))
        if trouble.retry_after_s is None:
            return jitter_s
        told_s = min(trouble.retry_after_s, self.retry_after_cap_s)
        return told_s + min(jitter_s, self.base_s)


def status_trouble(status: int, error: Any, headers: Mapping[str, str], now: datetime) -> Trouble:
    """The trouble behind an HTTP status other than 200; `error` is the body or its error object."""
    message = f"HTTP {status}: {error_message(error)}"
    if status in _FATAL:
        return Trouble("fatal", "rejected", error_message(error), status=status)
    wait_s = retry_after_s(headers, now)
    if status == 429:
        wait_s = reset_s(headers, error, now) if wait_s is None else wait_s
        return Trouble("retry", "rate_limited", message, wait_s, status)
    unseen = status in _GAVE_UP_WAITING
    if status == 408:
        return Trouble("retry", "timeout", message, wait_s, status, maybe_billed=unseen)
    if status >= 500 or status in _SERVER_SIDE_4XX:
        return Trouble("retry", "server", message, wait_s, status, maybe_billed=unseen)
    refuses_schema = _refuses_schema(status, f"{error_object(error).get('param')} {message}")
    return Trouble("final", "rejected", message, status=status, refuses_schema=refuses_schema)


def _refuses_schema(status: int, said: str) -> bool:
    if status == 404:
        # OpenRouter's, where no endpoint of a model that is there takes what the request asks for.
        return _NO_ENDPOINT.search(said) is not None
    return status in (400, 422) and "response_format" in said


def wrapped_trouble(error: Any) -> Trouble:
    """The trouble behind an error object that came with HTTP 200.

    Whatever status it carries, another attempt may reach another upstream provider; only what
    concerns the account itself is fatal.
    """
    code, status = error_object(error).get("code"), wrapped_status(error)
    message = f"HTTP 200 with an error in it ({code}): {error_message(error)}"
    if status in _FATAL:
        return Trouble("fatal", "rejected", error_message(error), status=status)
    kind = "rate_limited" if status == 429 else "server"
    unseen = status in _GAVE_UP_WAITING
    return Trouble("retry", kind, message, status=status, maybe_billed=unseen)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds in Retry-After, given as seconds or as an HTTP date; None where it says neither."""
    value = (headers.get("retry-after") or "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if seconds == seconds else None


def reset_s(headers: Mapping[str, str], error: Any, now: datetime) -> float | None:
    """Seconds until X-RateLimit-Reset, epoch milliseconds; None where none lies ahead.

    OpenRouter also repeats the header inside the error, under `metadata.headers`. What lies behind
    is another server's idea of the header (seconds from now, say) and tells nothing.
    """
    metadata = error_object(error).get("metadata")
    repeated = metadata.get("headers") if isinstance(metadata, Mapping) else None
    places = [headers, repeated] if isinstance(repeated, Mapping) else [headers]
    told = [value for place in places for key, value in place.items() if key.lower() == _RESET]
    try:
        wait_s = float(told[0]) / 1000 - now.timestamp() if told else 0.0
    except (TypeError, ValueError, OverflowError):
        return None
    return wait_s if wait_s > 0 else None
