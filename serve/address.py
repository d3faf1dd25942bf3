"""The address that the HTTP server listens on."""

import ipaddress
import socket

from configs.errors import UserError


def check_free(host: str, port: int) -> None:
    """UserError when nothing can listen on host:port."""
    listening_socket(host, port).close()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound to host:port; UserError when it cannot be."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Cannot listen on {host}:{port}: {reason}. Give another port=, "
            "or stop what listens there."
        ) from None
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


def base_url(host: str, port: int) -> str:
    """`http://host:port` as a client on this machine reaches it."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
