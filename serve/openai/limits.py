"""What a body may be: JSON, or the protobuf of Tinker's passes, and only so large."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.openai.errors import Failure

_PROTOBUF = b"application/x-protobuf"  # a JSON route then finds no object in it
_BODILESS = ("GET", "HEAD", "OPTIONS")


class BodyLimit:
    """Reads a body as far as it is allowed to go, and hands it on in one piece."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes
        self._too_large = Failure(
            413,
            f"The body has more than {max_bytes:,} bytes. Send fewer prompts at once, or start the "
            "server with a larger max_body_mb.",
            code="body_too_large",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of one request."""
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        body = await self._body(headers.get(b"content-length", b""), receive)
        if body is None:
            return await self._too_large.response()(scope, receive, send)
        if body and not _is_known(headers.get(b"content-type", b"")):
            return await _NOT_JSON.response()(scope, receive, send)
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return await self._app(scope, replay, send)

    async def _body(self, announced: bytes, receive: Receive) -> bytes | None:
        """The whole body, None when it is too large; a client that left has sent what it has."""
        if announced.isdigit() and int(announced) > self._max_bytes:
            return None
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def _is_known(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind in (b"application/json", _PROTOBUF) or (
        kind.startswith(b"application/") and kind.endswith(b"+json")
    )


_NOT_JSON = Failure(
    415, "The body must be JSON: send it with `Content-Type: application/json`.", code="not_json"
)
