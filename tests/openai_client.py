"""OpenAI's own client before an app in the same process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx2
import openai
from starlette.types import ASGIApp

_ANSWER_S = 60

T = TypeVar("T")


async def asked(app: ASGIApp, ask: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
    """What `ask(client)` gives."""
    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as http,
        openai.AsyncOpenAI(
            base_url="http://server/v1", api_key="none", http_client=http, max_retries=0
        ) as client,
    ):
        return await asyncio.wait_for(ask(client), _ANSWER_S)
