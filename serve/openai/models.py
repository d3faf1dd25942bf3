"""The routes of models: which there are, adapters that come and go, token ids of a prompt.

Loading and unloading have vLLM's bodies and status codes. vLLM answers them with a line of text
that its clients do not read; here the line is the `message` of a JSON object that also says what
was loaded.
"""

import time

from fastapi import FastAPI, Request
from starlette.responses import Response

from serve.openai.adapter_bodies import LoadBody, TokenizeBody, UnloadBody
from serve.openai.backend import Backend
from serve.openai.keys import check_admin
from serve.openai.replies import as_json, model_card
from serve.openai.shapes import (
    ERRORS,
    LoadReply,
    ModelCard,
    ModelList,
    TokenizeReply,
    UnloadReply,
)
from serve.registry import resolve

MODELS, TOKENIZE = "/v1/models", "/tokenize"
LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


def add_models(app: FastAPI, client: Backend) -> None:
    """All of them."""
    started = int(time.time())

    @app.get(MODELS, responses={200: {"model": ModelList}, **ERRORS})
    async def models() -> Response:
        described = await client.describe()
        data = [model_card(described, name, started) for name in described.adapters]
        return as_json({"object": "list", "data": data})

    @app.get(MODELS + "/{name:path}", responses={200: {"model": ModelCard}, **ERRORS})
    async def model(name: str) -> Response:
        described = await client.describe()
        found = resolve(name, list(described.adapters), described.base_names)
        return as_json(model_card(described, found, started))

    @app.post(LOAD, responses={200: {"model": LoadReply}, **ERRORS})
    async def load(body: LoadBody, request: Request) -> Response:
        check_admin(request)
        loaded = await client.load(body.lora_name, path=body.lora_path)
        message = f"Success: LoRA adapter '{body.lora_name}' added successfully."
        told = {"model": loaded.model, "digest": loaded.digest, "probe": loaded.probe}
        return as_json({"message": message} | told)

    @app.post(UNLOAD, responses={200: {"model": UnloadReply}, **ERRORS})
    async def unload(body: UnloadBody, request: Request) -> Response:
        check_admin(request)
        removed = await client.unload(body.lora_name)
        message = f"Success: LoRA adapter '{body.lora_name}' removed successfully."
        return as_json({"message": message, "removed": removed})

    @app.post(TOKENIZE, responses={200: {"model": TokenizeReply}, **ERRORS})
    async def tokenize(body: TokenizeBody) -> Response:
        if body.model is not None:
            described = await client.describe()
            resolve(body.model, list(described.adapters), described.base_names)
        tokens = await client.tokenize(*body.asked())
        return as_json({"count": len(tokens), "tokens": tokens, "token_strs": None})
