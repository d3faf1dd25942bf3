"""One attempt over the wire: the `openai` client, without its own retries, made for many calls.

The transport is aiohttp: httpx's own pool costs time quadratic in the calls that wait.
"""

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import aiohttp
import httpx2
import openai

from actors.pool.calls.answers import Answer, flagged, read_answer
from actors.pool.calls.error_body import is_moderated
from actors.pool.calls.retry import Trouble, status_trouble
from actors.pool.provider import Provider, is_loopback

_CONNECT_S = 10.0
_KEEP_ALIVE_S = 30.0
# What the client would tell of this machine with every request: nobody asked, and it costs a tenth.
_UNSAID: dict[str, Any] = {
    f"X-Stainless-{name}": openai.Omit()
    for name in ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async")
}
_OPTIONS: Any = {
    "headers": {f"x-stainless-{name}": openai.Omit() for name in ("retry-count", "read-timeout")}
}
_NO_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


class Transport:
    """An open client of one provider."""

    def __init__(self, provider: Provider, max_connections: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        limits = httpx2.Limits(max_connections=max_connections, keepalive_expiry=_KEEP_ALIVE_S)
        self._client = openai.AsyncOpenAI(
            base_url=provider.base_url,
            api_key=provider.api_key,
            default_headers={**_UNSAID, **authorization(provider)},
            max_retries=0,  # its retries would hide 429s and bill in silence
            # Only connecting has a limit of its own: the deadline below covers the whole attempt,
            # also an endpoint that sends a byte now and then.
            timeout=httpx2.Timeout(None, connect=min(_CONNECT_S, timeout_s)),
            http_client=openai.DefaultAioHttpClient(
                limits=limits,
                # A proxy from the environment cannot reach this machine's loopback.
                trust_env=not is_loopback(provider.base_url),
            ),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def ask(self, payload: dict[str, Any]) -> Answer | Trouble:
        """One attempt: the answer, or why there is none. Nothing but cancellation is raised."""
        try:
            async with asyncio.timeout(self._timeout_s):
                # The response as it came: bodies that break the protocol are ours to judge.
                response = await self._client.post(
                    "/chat/completions", body=payload, options=_OPTIONS, cast_to=httpx2.Response
                )
        except TimeoutError:
            message = f"no answer within {self._timeout_s:g} s"
            return Trouble("retry", "timeout", message, maybe_billed=True)
        except openai.APIStatusError as error:
            return _refused(error)
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            return network_trouble(error)
        except UnicodeEncodeError as error:  # half of a surrogate pair, say
            return Trouble("final", "rejected", f"the request cannot be sent as UTF-8: {error}")
        return read_answer(response.content)


def authorization(provider: Provider) -> dict[str, str]:
    """The header of credentials that stood in the URL; it takes the place of the key's."""
    if provider.credentials is None:
        return {}
    basic = base64.b64encode(":".join(provider.credentials).encode()).decode()
    return {"Authorization": f"Basic {basic}"}


def _refused(error: openai.APIStatusError) -> Answer | Trouble:
    body = error.body if error.body is not None else error.response.text
    status = error.status_code
    if is_moderated(status, body):
        return flagged(body)
    return status_trouble(status, body, error.response.headers, datetime.now(UTC))


def network_trouble(error: BaseException) -> Trouble:
    """The trouble behind an exception of the network.

    The client reports refused and broken connections as time-outs; aiohttp's exception, further
    down the chain of causes, tells them apart.
    """
    cause: BaseException | None = error
    while cause is not None:
        said = str(cause) or type(cause).__name__
        if isinstance(cause, _NO_CONNECTION):
            said = str(getattr(cause, "os_error", said))
            return Trouble("retry", "connection", f"cannot connect: {said}", unreachable=True)
        if isinstance(cause, aiohttp.ClientError | OSError) and not isinstance(cause, TimeoutError):
            return Trouble("retry", "connection", f"connection lost: {said}", maybe_billed=True)
        cause = cause.__cause__
    if isinstance(error, openai.APITimeoutError):
        return Trouble("retry", "timeout", str(error), maybe_billed=True)
    return Trouble("retry", "connection", str(error), maybe_billed=True)
