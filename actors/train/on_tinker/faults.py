"""What went wrong on the service, as the two errors that end a job.

A request that the service refuses (400, 401, 402, 403, 422, or failed by the user's fault) would be
refused again: `UserError`. Everything else may pass, and the client that met it can no longer be
used: `ServiceFailed`, after which a new client goes on from the last checkpoint.
"""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

import tinker
from tinker.lib.retryable_exception import RetryableException
from tinker.types import RequestErrorCategory

from configs.errors import JobFailed, UserError

_REFUSED = (400, 422)
_NOT_OFFERED = (*_REFUSED, 403, 404, 405, 501)
_MENDS = {
    401: " Give a key of that service in TINKER_API_KEY.",
    402: " Set up billing on the service.",
    403: " TINKER_API_KEY belongs to an account that may not do this.",
}
# What the SDK raises for a future that is lost, or whose session is, and for a poisoned client.
_BROKEN = (
    tinker.TinkerError, RetryableException, CancelledError, RuntimeError, ValueError, TimeoutError,
)  # fmt: skip


class ServiceFailed(JobFailed):
    """The service failed a request, or could not be reached."""


class Refused(UserError):
    """The service will not do what it was asked."""


@contextmanager
def told(doing: str, absent: str | None = None) -> Iterator[None]:
    """Errors of the SDK within the block as errors of ours.

    `doing` is the start of the message ("forward_backward"); `absent` says what a 404 means where
    it is the user's fault.
    """
    try:
        yield
    except tinker.RequestFailedError as error:
        is_users = error.category is RequestErrorCategory.User
        raise (Refused if is_users else ServiceFailed)(_message(doing, error)) from None
    except tinker.APIStatusError as error:
        raise _of_status(doing, absent, error) from None
    except _BROKEN as error:
        raise ServiceFailed(_message(doing, error.__cause__ or error)) from None


def is_not_offered(error: tinker.TinkerError) -> bool:
    """Whether an error says that the service does not do such a thing at all, for this account."""
    if isinstance(error, tinker.RequestFailedError):
        return error.category is RequestErrorCategory.User
    return isinstance(error, tinker.APIStatusError) and error.status_code in _NOT_OFFERED


def _of_status(doing: str, absent: str | None, error: tinker.APIStatusError) -> Exception:
    if error.status_code == 404 and absent is not None:
        return UserError(f"{absent} The service said: {said(error)}")
    if error.status_code in _REFUSED:
        return Refused(_message(doing, error))
    if error.status_code in _MENDS:
        return UserError(_message(doing, error) + _MENDS[error.status_code])
    return ServiceFailed(_message(doing, error))


def _message(doing: str, error: BaseException) -> str:
    words = said(error) or type(error).__name__
    return f"Tinker: {doing} failed: {words.rstrip('.')}."


def said(error: BaseException) -> str:
    """The service's own words, without the SDK's around them."""
    body: object = getattr(error, "body", None)
    while isinstance(body, dict):
        body = next((body[key] for key in ("error", "message", "detail") if key in body), None)
    return body if isinstance(body, str) else str(error).partition(" for self.request_id=")[0]
