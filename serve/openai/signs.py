"""The routes for those who watch the server: is it there, and how busy is it."""

import asyncio

from fastapi import FastAPI
from starlette.responses import Response

from serve.calls import Unavailable
from serve.openai.backend import Backend
from serve.openai.metrics import CONTENT_TYPE, Metrics, ReplicaStats
from serve.openai.replies import as_json
from serve.openai.shapes import ERRORS, Health

HEALTH, METRICS = "/health", "/metrics"
_ANSWER_S = 5.0


def add_signs(app: FastAPI, client: Backend, metrics: Metrics) -> None:
    """Both routes."""

    async def replicas() -> list[ReplicaStats]:
        async with asyncio.timeout(_ANSWER_S):
            return await client.stats()

    @app.get(HEALTH, responses={200: {"model": Health}, **ERRORS})
    async def health() -> Response:
        try:
            alive = await replicas()
        except TimeoutError:
            alive = []
        if not alive:
            raise Unavailable("no replica answers")
        return as_json({"status": "ok"})

    @app.get(METRICS, response_class=Response, responses={200: {"content": {CONTENT_TYPE: {}}}})
    async def scrape() -> Response:
        try:
            alive = await replicas()
        except (TimeoutError, Unavailable):  # the door's own numbers are there all the same
            alive = []
        return Response(metrics.text(alive), media_type=CONTENT_TYPE)
