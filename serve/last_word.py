"""What open requests are told when the server stops before they are answered."""

import asyncio
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.calls import Unavailable
from serve.openai.errors import told

_STOPPING = told(Unavailable("the server is stopping"))
_EVENT = b"data: " + json.dumps(_STOPPING.body).encode() + b"\n\n"


class LastWord:
    """Once `over` is set, open requests are cancelled and get a 503; streams, as a last event."""

    def __init__(self, app: ASGIApp, over: asyncio.Event) -> None:
        self._app, self._over = app, over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of one request."""
        begun = ended = False

        async def say(message: Message) -> None:
            nonlocal begun, ended
            if not self._over.is_set():
                begun, ended = True, _is_last(message)
                await send(message)

        answering = asyncio.ensure_future(self._app(scope, receive, say))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((answering, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            cut_off = answering.cancel()  # nothing where it is done
        if not cut_off:
            await answering
            return
        await asyncio.wait((answering,))
        if not begun:
            await _STOPPING.response()(scope, receive, send)
        elif not ended:
            await send({"type": "http.response.body", "body": _EVENT})


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body")
