"""Actors without Ray: an object whose methods are called as those of an actor's handle."""

import asyncio
from typing import Any


class LocalActor:
    """`handle.method.remote(...)` as a task of this event loop."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return _Method(getattr(self._actor, name))


class _Method:
    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(self._method(*arguments))


def kept(value: Any) -> Any:
    """In place of `ray.put`: something to await that gives the value."""
    reference = asyncio.get_running_loop().create_future()
    reference.set_result(value)
    return reference
