"""The address that the HTTP server listens on: is it free, and does our server answer there."""

import socket
import urllib.error
import urllib.request

from configs.errors import UserError

_ANSWER_S = 10.0


def check_free(host: str, port: int) -> None:
    """UserError when nothing can listen on host:port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"Cannot listen on {host}:{port}: {reason}. Give another port=, "
                "or stop what listens there."
            ) from None


def check_serves(host: str, port: int) -> None:
    """UserError unless our server answers there.

    A cluster has one set of HTTP proxies: where they already run, they keep their address.
    """
    url = base_url(host, port)
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_ANSWER_S):
            return
    except (urllib.error.URLError, TimeoutError) as error:
        raise UserError(
            f"The server runs but does not answer at {url} ({error}). Ray Serve was already "
            "running on this cluster with another address: `serve shutdown` it, or use a cluster "
            "of its own."
        ) from None


def base_url(host: str, port: int) -> str:
    """`http://host:port` as a client on this machine reaches it."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
