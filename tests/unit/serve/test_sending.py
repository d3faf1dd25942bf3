"""A load that kills its replica is not sent to the others."""

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayActorError

from serve.calls import Unavailable
from serve.client import ServerClient


class _Dying:
    """Replicas each of which dies of every call, and a shelf that takes everything."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def options(self, **_: Any) -> "_Dying":
        return self

    def __getattr__(self, method: str) -> Any:
        return _Method(self, method)


class _Method:
    def __init__(self, owner: _Dying, name: str) -> None:
        self._owner, self._name = owner, name

    async def remote(self, *_: Any) -> Any:
        self._owner.called.append(self._name)
        raise RayActorError


class _Shelf:
    def __getattr__(self, method: str) -> Any:
        return _Kept()


class _Kept:
    def remote(self, *_: Any) -> Any:
        told = asyncio.get_running_loop().create_future()
        told.set_result("one@1")
        return told


def test_a_load_that_kills_is_not_sent_again() -> None:
    replicas = _Dying()
    client = ServerClient(replicas, _Shelf())  # pyrefly: ignore
    with pytest.raises(Unavailable):
        asyncio.run(client.load("one", path="one"))
    assert replicas.called == ["load"]
    with pytest.raises(Unavailable):
        asyncio.run(client.describe())
    assert replicas.called == ["load", *["describe"] * 4]
