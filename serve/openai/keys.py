"""API keys: who may ask, and who may load and unload adapters.

They come from the environment, comma-separated: HOTHOUSE_API_KEYS may ask, HOTHOUSE_ADMIN_KEYS may
do everything. Only their SHA-256 digests leave the process that read them. With any key set, every
route but the signs of life wants one, as OpenAI's clients send it or as Tinker's do; downloads are
signed instead. Without any, everybody who reaches the server may ask, and only a server on loopback
takes adapters.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.openai.errors import Failure, Refused

USER_KEYS, ADMIN_KEYS = "HOTHOUSE_API_KEYS", "HOTHOUSE_ADMIN_KEYS"
_OPEN = ("/health", "/api/v1/healthz")
SIGNED = "/api/v1/download/"  # paths below it check a signature of their own
_RIGHTS = "hothouse.rights"  # the scope's entry

Rights = Literal["user", "admin"]


@dataclass(frozen=True)
class Keys:
    """Digests of the keys, and whether only this machine can reach the server."""

    users: tuple[bytes, ...] = ()
    admins: tuple[bytes, ...] = ()
    on_loopback: bool = True

    @property
    def are_set(self) -> bool:
        """Whether a request needs one."""
        return bool(self.users or self.admins)

    def rights(self, authorization: str) -> Rights | None:
        """What the header's key may do. All keys are compared, each in constant time."""
        if not self.are_set:
            return "admin" if self.on_loopback else "user"
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip()) if scheme.lower() == "bearer" else b""
        if _is_one_of(given, self.admins):
            return "admin"
        return "user" if _is_one_of(given, self.users) else None


def keys_from(environment: Mapping[str, str], *, on_loopback: bool) -> Keys:
    """The keys that a server's environment names."""
    users, admins = (_listed(environment.get(name, "")) for name in (USER_KEYS, ADMIN_KEYS))
    return Keys(users, admins, on_loopback)


def _listed(keys: str) -> tuple[bytes, ...]:
    return tuple(_digest(key.strip()) for key in keys.split(",") if key.strip())


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _is_one_of(given: bytes, keys: Iterable[bytes]) -> bool:
    return sum(hmac.compare_digest(given, key) for key in keys) > 0  # none is skipped


class KeyCheck:
    """Lets through who may ask, and notes down what else they may."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of one request."""
        if scope["type"] == "http":
            sent = _sent(scope["headers"]).decode("utf-8", "surrogateescape")
            scope[_RIGHTS] = self._keys.rights(sent)
            is_open = scope["path"] in _OPEN or scope["path"].startswith(SIGNED)
            if scope[_RIGHTS] is None and not is_open:
                return await _UNKNOWN.response()(scope, receive, send)
        return await self._app(scope, receive, send)


def _sent(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key as OpenAI's clients send it, else as Tinker's SDK does."""
    given = dict(headers)
    return given.get(b"authorization") or b"Bearer " + given.get(b"x-api-key", b"")


def check_admin(request: Request) -> None:
    """Refused unless the request may load and unload, train, and delete.

    A route asks this itself: a path compared beforehand could be spelt in another way.
    """
    if request.scope.get(_RIGHTS) != "admin":
        raise Refused(_NOT_ADMIN)


_UNKNOWN = Failure(
    401,
    "No API key, or a wrong one. Send one of the server's as `Authorization: Bearer KEY`.",
    code="invalid_api_key",
    headers={"WWW-Authenticate": "Bearer"},
)
_NOT_ADMIN = Failure(
    403,
    f"Loading, unloading and training adapters needs one of the server's {ADMIN_KEYS}. Without any "
    "key set, a server on loopback takes adapters from everybody, any other from nobody.",
    code="admin_key_needed",
)
