"""The HTTP server of the app, in a thread of the process that started the adapter server.

Serve's own HTTP proxy would take a request through two more processes, which costs three times
the CPU of all the rest; here a request goes from the client's socket to a replica in one step.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from serve.address import listening_socket
from serve.last_word import LastWord

DRAIN_S = 10  # what a request in flight has at the end
_KEEP_ALIVE_S = 75  # longer than clients keep idle connections: they close first
_LAST_WORD_S = 2  # for the rest to be told
_LOOK_S = 0.01


@contextmanager
def open_door(
    app: ASGIApp, host: str, port: int, at_once: threading.Event | None = None
) -> Iterator[int]:
    """Serve an app on host:port for the length of a block; yields the port (0 picks a free one).

    UserError when nothing can listen there. At the end, requests in flight are given DRAIN_S, or
    no time as soon as `at_once` is set; those that are not answered then are told so.
    """
    server = _Server(app, at_once or threading.Event())
    with listening_socket(host, port) as listener:
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="door", daemon=True
        )
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(_LOOK_S)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """It ends the requests that outlast its end, so that uvicorn does not cut them off."""

    def __init__(self, app: ASGIApp, at_once: threading.Event) -> None:
        self._at_once, self._over = at_once, asyncio.Event()
        config = uvicorn.Config(
            LastWord(app, self._over),
            http="h11",  # it bounds the size of headers
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S + _LAST_WORD_S,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Until every request is over."""
        patience = asyncio.create_task(self._patience())
        await super().shutdown(sockets)
        patience.cancel()

    async def _patience(self) -> None:
        until_s = time.monotonic() + DRAIN_S
        while time.monotonic() < until_s and not self._at_once.is_set():
            await asyncio.sleep(_LOOK_S)
        self._over.set()
