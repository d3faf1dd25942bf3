"""The HTTP server of the app, in a thread of the process that started the adapter server.

Serve's own HTTP proxy would take a request through two more processes, which costs three times
the CPU of all the rest; here a request goes from the client's socket to a replica in one step.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from serve.address import listening_socket

_KEEP_ALIVE_S = 75  # longer than clients keep idle connections: they close first
_DRAIN_S = 10  # what a request in flight has at the end
_LOOK_S = 0.01


@contextmanager
def open_door(app: ASGIApp, host: str, port: int) -> Iterator[int]:
    """Serve an app on host:port for the length of a block; yields the port (0 picks a free one).

    UserError when nothing can listen there. At the end, requests in flight are given a moment.
    """
    config = uvicorn.Config(
        app,
        http="h11",  # it bounds the size of headers
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    server = uvicorn.Server(config)
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
