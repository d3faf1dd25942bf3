"""The body of a chat-completion request."""

import hashlib
from typing import Any

from pydantic import BaseModel

from actors.pool.calls.prompted import with_schema
from actors.pool.calls.structured import JSON_MODE, response_format
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, SchemaMode
from configs.errors import UserError


def request_body(
    request: ChatRequest, provider: Provider, schema_mode: SchemaMode = "strict"
) -> dict[str, Any]:
    """What is sent for `request`; what it leaves open is not mentioned."""
    model = request.model or provider.default_model
    if model is None:
        raise UserError(f"{provider.name} has no default model: give model=NAME.")
    options = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": sent_seed(request.seed, request.sample),
    }
    body: dict[str, Any] = {"model": model, "messages": list(request.messages)}
    body.update({name: value for name, value in options.items() if value is not None})
    if request.top_logprobs is not None:
        body.update(logprobs=True, top_logprobs=request.top_logprobs)
    if request.schema is not None:
        body.update(_asking_for(request.schema, request, provider, schema_mode))
    return body


def _asking_for(
    schema: type[BaseModel], request: ChatRequest, provider: Provider, mode: SchemaMode
) -> dict[str, Any]:
    """The fields that ask for an instance of `schema`."""
    form = response_format(schema)
    if mode == "strict":
        return {"response_format": form, **provider.schema_options}
    fields: dict[str, Any] = {"messages": with_schema(request.messages, form)}
    if mode == "json":
        fields |= {"response_format": JSON_MODE, **provider.schema_options}
    return fields


def sent_seed(seed: int | None, sample: int) -> int | None:
    """The seed of draw number `sample`: without one of its own, a draw would repeat the first."""
    if seed is None or sample == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{sample}".encode()).digest()[:4], "big") >> 1
