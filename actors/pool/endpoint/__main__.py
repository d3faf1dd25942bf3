"""Serve the endpoint on loopback and print one JSON line with its URL once it answers."""

import argparse
import json
import os
import socket
import sys
import threading

import uvicorn
from pydantic import ValidationError

from actors.pool.endpoint.app import create_app
from actors.pool.endpoint.faults import FaultConfig
from actors.pool.endpoint.rules import answer

_HOST = "127.0.0.1"
_KEEP_ALIVE_S = (
    75  # longer than any client keeps an idle connection, so it never meets a closed one
)


class _AnnouncedServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            print(json.dumps({"url": f"http://{_HOST}:{listener.getsockname()[1]}/v1"}), flush=True)


def main() -> int:
    """Serve until a signal, or until stdin closes where that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m actors.pool.endpoint", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--faults", default="{}", help="JSON with the fields of FaultConfig")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that holds stdin"
    )
    arguments = parser.parse_args()
    try:
        faults = FaultConfig.model_validate_json(arguments.faults)
    except ValidationError as error:
        print(f"--faults: {error}", file=sys.stderr)
        return 2
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, arguments.port))
    except OSError as error:
        print(f"Port {arguments.port} cannot be used: {error}. Give another.", file=sys.stderr)
        return 2
    if arguments.until_stdin_closes:
        threading.Thread(target=_exit_when_stdin_closes, daemon=True).start()
    config = uvicorn.Config(
        create_app(answer, faults),
        lifespan="off",
        log_level="critical",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )
    _AnnouncedServer(config).run(sockets=[listener])
    return 0


def _exit_when_stdin_closes() -> None:
    # The kernel closes the pipe however its holder ends, kill -9 included.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)  # nothing to save, and a stalled answer must not hold the exit up


if __name__ == "__main__":
    sys.exit(main())
