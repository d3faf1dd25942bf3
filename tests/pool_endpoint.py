"""A handle on a running endpoint: its faults, its books, and pools on it that wait only briefly.

Answers are stored under one folder for all tests, so questions are told apart by a salt; every pool
has an account of its own, so that no test meets the limits that another has run into.
"""

import asyncio
import json
import urllib.request
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from actors.lm.messages import user
from actors.pool.books.at import BooksAt
from actors.pool.calls.retry import RetryPolicy
from actors.pool.client import ChatPool
from actors.pool.desk import Desk, Setup
from actors.pool.endpoint.faults import FaultConfig
from actors.pool.line import Halt
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Outcome
from configs.sections import PoolConfig

QUICK = RetryPolicy(base_s=0.01, cap_s=0.05, retry_after_cap_s=5.0)


class Endpoint:
    """An endpoint that runs at `url`; answers of pools on it are stored under `storage`."""

    def __init__(self, url: str, storage: str) -> None:
        self.url, self.storage = url, storage

    @property
    def provider(self) -> Provider:
        """It as the provider of an account that nobody else has."""
        return Provider("offline", self.url, unique(), "rules", "provider: offline")

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
        return ChatPool(self.provider, config(**fields), self.books(), policy=QUICK)

    def books(self, **fields: Any) -> BooksAt:
        """Books of a run that nobody else has; `fields` are BooksAt's."""
        books = BooksAt(self.storage, unique(), unique(), None, None)
        return replace(books, **fields)

    def complete(
        self, requests: Iterable[ChatRequest], storage: str | None = None, **fields: Any
    ) -> list[Outcome]:
        """The outcomes of `requests`, in the order they finish, by a worker in this process.

        Another `storage` knows nothing of what was answered before.
        """
        books = self.books(storage=storage or self.storage)
        return complete(Setup(self.provider, config(**fields), books, {}, QUICK), requests)

    def _post(self, verb: str, body: str = "") -> None:
        request = urllib.request.Request(self._admin(verb), body.encode(), method="POST")
        urllib.request.urlopen(request).close()

    def _admin(self, verb: str) -> str:
        return f"{self.url.removesuffix('/v1')}/admin/{verb}"


def complete(setup: Setup, requests: Iterable[ChatRequest]) -> list[Outcome]:
    """The outcomes of `requests`, in the order they finish, by a worker in this process."""

    async def collect() -> list[Outcome]:
        desk = Desk(setup, unique())
        try:
            asked = [desk.answer(request, Halt()) for request in requests]
            return [await outcome for outcome in asyncio.as_completed(asked)]
        finally:
            await desk.close()

    return asyncio.run(collect())


def config(**fields: Any) -> PoolConfig:
    """Few calls at once, and short waits."""
    return PoolConfig(**{"max_concurrency": 8, "timeout_s": 20, **fields})


def plain(count: int, **fields: Any) -> list[ChatRequest]:
    """Requests for plain text that nobody asked before, told apart by their content and key."""
    salt = unique()
    return [ChatRequest(f"k{i}", [user(f"{salt}: question {i}?")], **fields) for i in range(count)]


def unique() -> str:
    """A name that nobody else has."""
    return uuid.uuid4().hex[:12]
