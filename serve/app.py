"""The HTTP face of the server: OpenAI's API over the replicas' handle."""

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException

from actors.lm.refusals import BadRequest, BrokenAdapter, UnknownAdapter
from serve.calls import Description
from serve.client import ask
from serve.openai_replies import chat_reply, completion_reply, error_body, model_card
from serve.openai_requests import ChatBody, CompletionBody
from serve.registry import resolve

_BAD, _CHAT = "invalid_request_error", "/v1/chat/completions"


def build_app(handle: DeploymentHandle) -> FastAPI:
    """The routes, and every error in OpenAI's shape."""
    app, started = FastAPI(title="hothouse", docs_url=None, redoc_url=None), int(time.time())
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UnknownAdapter, _unknown)
    app.add_exception_handler(BadRequest, _bad)
    app.add_exception_handler(BrokenAdapter, _broken)
    app.add_exception_handler(Exception, _failed)

    async def describe() -> Description:
        return await handle.describe.remote()

    def card(described: Description, name: str) -> dict[str, Any]:
        return model_card(name, described.adapters[name], described.base_name, started)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        described = await describe()
        data = [card(described, name) for name in described.adapters]
        return {"object": "list", "data": data}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        described = await describe()
        found = resolve(name, list(described.adapters), described.base_names)
        return card(described, found)

    @app.post(_CHAT)
    async def chat(body: ChatBody) -> dict[str, Any]:
        return chat_reply(await ask(handle, body.call()), logprobs=body.logprobs)

    @app.post("/v1/completions")
    async def completions(body: CompletionBody) -> dict[str, Any]:
        answer = await ask(handle, body.call())
        return completion_reply(answer, logprobs=body.logprobs is not None)

    return app


async def _invalid(_: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    # List positions and inner fields follow the field.
    field = str(first["loc"][1]) if len(first["loc"]) > 1 else "body"
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 2:
        text = f'Field "{field}" is not supported.'
    elif first["type"] == "json_invalid":
        field, text = "body", "The body is not valid JSON."
    else:
        place = ".".join(str(part) for part in first["loc"][1:]) or "body"
        text = f'Field "{place}": {first["msg"].removeprefix("Value error, ")}.'
    return _answer(400, text, param=field)


async def _http(_: Request, error: Any) -> JSONResponse:
    return _answer(error.status_code, f"{error.detail}.")


async def _unknown(_: Request, error: Any) -> JSONResponse:
    return _answer(404, str(error), param="model", code="model_not_found")


async def _bad(request: Request, error: Any) -> JSONResponse:
    is_chat = request.url.path.endswith(_CHAT)
    field = "messages" if is_chat and error.field == "prompt" else error.field
    return _answer(400, f"{error}.", param=field)


async def _broken(_: Request, error: Any) -> JSONResponse:
    return _answer(500, f"{error}.", kind="broken_adapter", param="model")


async def _failed(_: Request, error: Any) -> JSONResponse:
    # Starlette raises it again after this answer, so the server's log has the trace.
    text = f"The server failed on this request ({type(error).__name__}); its log says why."
    return _answer(500, text, kind="server_error")


def _answer(
    status: int, text: str, *, kind: str = _BAD, param: str | None = None, code: str | None = None
) -> JSONResponse:
    return JSONResponse(error_body(text, kind, param=param, code=code), status_code=status)


class Ingress:
    """The deployment that Serve's HTTP proxy talks to; it builds its app where it runs."""

    def __init__(self, replicas: DeploymentHandle) -> None:
        self._replicas = replicas

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(self._replicas)
