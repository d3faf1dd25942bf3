"""`POST /v1/chat/completions`, as bare ASGI: this is the path that benchmarks lean on."""

import asyncio
import hashlib
import time
from collections.abc import Iterable

from starlette.types import Receive, Scope, Send

from actors.pool.endpoint.counts import Counts
from actors.pool.endpoint.faults import FaultConfig, decide, request_bucket
from actors.pool.endpoint.instances import UnsupportedSchema
from actors.pool.endpoint.replies import Answer, Reply, bad_request, reply
from actors.pool.endpoint.request import BadRequest, parse_request


class ChatCompletions:
    """Answers one request at a time by rule, under the faults that are switched on."""

    def __init__(self, answer: Answer, faults: FaultConfig) -> None:
        self._answer = answer
        self._faults_at_start = faults
        self.reset()

    def reset(self) -> None:
        """Counts back to zero, and the faults as they were at the start."""
        self.counts = Counts()
        self.switch(self._faults_at_start)

    def switch(self, faults: FaultConfig) -> None:
        """Other faults from now on; a limit on requests starts with its burst unused."""
        self.faults = faults
        self._requests = request_bucket(faults, time.monotonic())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        raw = await _read(receive)
        # Both may be replaced while this request waits; it belongs to those it came under.
        faults, counts = self.faults, self.counts
        digest = hashlib.blake2b(raw, digest_size=8).digest()
        ordinal = counts.ask(digest)
        over_limit = self._requests is not None and not self._requests.take(1, time.monotonic())
        # A gateway turns a request away before any model sees it.
        if faults.latency_s and not over_limit:
            await asyncio.sleep(faults.latency_s)
        response = self._reply(raw, digest, ordinal, faults, over_limit)
        if response is None:
            counts.answer("stall", None)
            await _disconnect(receive)
            return
        counts.answer("reset" if response.cut else str(response.status), response.cost_usd)
        await _send(response, send)

    def _reply(
        self, raw: bytes, digest: bytes, ordinal: int, faults: FaultConfig, over_limit: bool
    ) -> Reply | None:
        try:
            request = parse_request(raw)
        except BadRequest as problem:
            return bad_request(problem)
        if over_limit:
            return reply(request, "rate_limited", faults, digest, self._answer)
        if _takes_not(faults, request.sent_format):
            return bad_request(BadRequest("response_format is not supported.", "response_format"))
        if faults.refuse_logprobs and request.body.get("logprobs"):
            return bad_request(BadRequest("logprobs are not supported.", "logprobs"))
        fault = decide(faults, ordinal, digest, request.asked_again)
        if fault == "stall":
            return None
        try:
            return reply(request, fault, faults, digest, self._answer)
        except UnsupportedSchema as problem:
            return bad_request(BadRequest(f"{problem}", "response_format"))


def _takes_not(faults: FaultConfig, sent_format: str | None) -> bool:
    if faults.no_json_mode:
        return sent_format in ("json_schema", "json_object")
    return faults.no_schema and sent_format == "json_schema"


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(response: Reply, send: Send) -> None:
    headers: Iterable[tuple[bytes, bytes]] = (
        (b"content-type", b"application/json"),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    )
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.cut:
        # Returning before the body is whole makes the server close the connection.
        half = response.body[: len(response.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        return
    await send({"type": "http.response.body", "body": response.body})
