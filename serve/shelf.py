"""The shelf: one actor that holds the adapters of a server for all its replicas.

A replica fetches what it serves when it starts, so one that Serve replaces comes back with the
same adapters, and no disk needs to be shared.
"""

from collections.abc import Collection
from typing import Any

import ray

from actors.lm.adapter import Adapter
from serve.registry import Registry


class AdapterShelf:
    """Adapters by `name@version`."""

    def __init__(self, base_names: Collection[str]) -> None:
        self._registry = Registry(base_names)
        self._adapters: dict[str, Adapter] = {}

    def put(self, name: str, adapter: Adapter) -> str:
        """Keep an adapter and return its `name@version`."""
        full = self._registry.add(name, adapter.digest)
        self._adapters[full] = adapter
        return full

    def everything(self) -> dict[str, Adapter]:
        """`name@version` -> adapter."""
        return self._adapters


def start_shelf(base_names: Collection[str]) -> Any:
    """The handle of a new shelf; it needs memory, no core."""
    return ray.remote(num_cpus=0)(AdapterShelf).remote(base_names)
