"""A client that hangs up cancels its request, and with it whatever is computed for it."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Hangup:
    """Listens to the client while the app answers. The body comes in one message."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        messages, answered = [await receive()], False

        async def listen() -> Message:
            if messages:
                return messages.pop()
            await asyncio.wait((gone,))  # never awaited itself: a listener may be cancelled
            return {"type": "http.disconnect"}

        async def say(message: Message) -> None:
            nonlocal answered
            # Noted before it is sent: then the client may go, and nothing is left to cancel.
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        gone = asyncio.ensure_future(_gone(receive))
        answering = asyncio.ensure_future(self._app(scope, listen, say))
        try:
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
            if answered:
                await asyncio.wait((answering,))
        finally:
            gone.cancel()
            hung_up = not answering.done() and answering.cancel()
        try:
            await answering
        except asyncio.CancelledError:
            if not hung_up:
                raise


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
