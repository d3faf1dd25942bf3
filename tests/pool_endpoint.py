"""A handle on a running endpoint: its faults, its books, and pools on it that wait only briefly."""

import asyncio
import json
import random
import urllib.request
from collections.abc import Iterable
from typing import Any

from actors.lm.messages import user
from actors.pool.calls.retry import RetryPolicy
from actors.pool.client import ChatPool
from actors.pool.endpoint.faults import FaultConfig
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Outcome
from configs.sections import PoolConfig

QUICK = RetryPolicy(base_s=0.01, cap_s=0.05, retry_after_cap_s=5.0)


class Endpoint:
    """An endpoint that runs at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.provider = Provider("offline", url, "none", "rules", "provider: offline")

    def faults(self, **fields: Any) -> None:
        """Switch faults; the counts start again."""
        self._post("reset")
        self._post("faults", FaultConfig(**fields).model_dump_json())

    def counts(self) -> dict[str, Any]:
        """What it was asked and billed since the last `faults`."""
        with urllib.request.urlopen(self._admin("counts")) as response:
            return json.load(response)

    def pool(self, **fields: Any) -> ChatPool:
        """A pool on it; `fields` are PoolConfig's."""
        config = PoolConfig(**{"max_concurrency": 8, "timeout_s": 20, **fields})
        return ChatPool(self.provider, config, policy=QUICK, rng=random.Random(0))

    def complete(self, requests: Iterable[ChatRequest], **fields: Any) -> list[Outcome]:
        """The outcomes of `requests`, in the order they finish."""

        async def collect() -> list[Outcome]:
            async with self.pool(**fields) as pool:
                return [outcome async for outcome in pool.complete(requests)]

        return asyncio.run(collect())

    def _post(self, verb: str, body: str = "") -> None:
        request = urllib.request.Request(self._admin(verb), body.encode(), method="POST")
        urllib.request.urlopen(request).close()

    def _admin(self, verb: str) -> str:
        return f"{self.url.removesuffix('/v1')}/admin/{verb}"


def plain(count: int, **fields: Any) -> list[ChatRequest]:
    """Requests for plain text, told apart by their content and key."""
    return [ChatRequest(f"k{i}", [user(f"Question {i}?")], **fields) for i in range(count)]
