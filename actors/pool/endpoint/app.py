"""The endpoint's routes: OpenAI's two, the key's balance, and `/admin` for faults and counts."""

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actors.pool.endpoint.chat import ChatCompletions
from actors.pool.endpoint.faults import FaultConfig
from actors.pool.endpoint.replies import Answer

MODEL = "rules"
_MAX_COMPLETION_TOKENS = 4096


def create_app(answer: Answer, faults: FaultConfig) -> Starlette:
    """The app; `answer` gives the content for a request's body."""
    chat = ChatCompletions(answer, faults)

    async def models(request: Request) -> JSONResponse:
        model = {
            "id": MODEL,
            "object": "model",
            "created": 0,
            "owned_by": "hothouse",
            "pricing": {"prompt": "0", "completion": "0", "request": str(chat.faults.cost_usd)},
            "top_provider": {"max_completion_tokens": _MAX_COMPLETION_TOKENS},
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def key(request: Request) -> JSONResponse:
        limit, usage = chat.faults.credit_usd, chat.counts.billed_usd
        remaining = None if limit is None else max(0.0, limit - usage)
        data = {"label": "embedded", "limit": limit, "limit_remaining": remaining, "usage": usage}
        return JSONResponse({"data": data})

    async def counts(request: Request) -> JSONResponse:
        return JSONResponse(chat.counts.snapshot())

    async def set_faults(request: Request) -> JSONResponse:
        try:
            chat.switch(FaultConfig.model_validate_json(await request.body()))
        except ValidationError as error:
            message = f"Not a fault configuration: {error}"
            return JSONResponse({"error": {"message": message}}, status_code=400)
        return JSONResponse(chat.faults.model_dump())

    async def reset(request: Request) -> JSONResponse:
        chat.reset()
        return JSONResponse(chat.counts.snapshot())

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/key", key),
            Route("/admin/counts", counts),
            Route("/admin/faults", set_faults, methods=["POST"]),
            Route("/admin/reset", reset, methods=["POST"]),
        ]
    )
