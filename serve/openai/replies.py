"""OpenAI's replies, from a replica's answers."""

import json
import time
import uuid
from typing import Any

from starlette.responses import Response

from serve.calls import Answer, Call, Choice, Description
from serve.openai.logprobs import CompletionTokens, chat_logprobs
from serve.openai.shapes import (
    ChatChoice,
    ChatReply,
    CompletionChoice,
    CompletionLogprobs,
    CompletionReply,
    Head,
    ModelCard,
    Usage,
)


def chat_reply(call: Call, answer: Answer) -> ChatReply:
    """A `chat.completion`."""
    choices: list[ChatChoice] = [
        {
            "index": i,
            "message": {"role": "assistant", "content": one.sample.text, "refusal": None},
            "finish_reason": one.sample.finish_reason,
            "logprobs": None
            if call.logprobs is None
            else chat_logprobs(one.sample.token_ids, one.sample.logprobs, answer.texts),
        }
        for i, one in enumerate(answer.choices)
    ]
    return {
        "object": "chat.completion",
        "choices": choices,
        "usage": usage(call, answer),
        **head("chatcmpl", answer.model, answer.fingerprint, _digest(answer)),
    }


def completion_reply(call: Call, answer: Answer) -> CompletionReply:
    """A `text_completion`; with `echo` each choice begins with its prompt."""
    choices: list[CompletionChoice] = [
        {
            "index": i,
            "text": (one.prompt_text or "") + one.sample.text,
            "finish_reason": one.sample.finish_reason,
            "logprobs": None if call.logprobs is None else _completion_logprobs(one, answer),
        }
        for i, one in enumerate(answer.choices)
    ]
    return {
        "object": "text_completion",
        "choices": choices,
        "usage": usage(call, answer),
        **head("cmpl", answer.model, answer.fingerprint, _digest(answer)),
    }


def as_json(reply: Any) -> Response:
    """A reply as it is sent. Built by us, it needs no checking on its way out."""
    content = json.dumps(reply, separators=(",", ":"), allow_nan=False)
    return Response(content, media_type="application/json")


def model_card(described: Description, name: str, started: int) -> ModelCard:
    """One entry of `/v1/models`."""
    return {
        "id": name,
        "object": "model",
        "created": started,
        "owned_by": "hothouse",
        "parent": None if name == "base" else "base",
        "root": described.base_name,
        "digest": described.adapters[name],
    }


def head(prefix: str, model: str, fingerprint: str, digest: str) -> Head:
    """Under a new id, made now."""
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": fingerprint,
        "adapter_digest": digest,
    }


def usage(call: Call, answer: Answer) -> Usage:
    """Tokens of a whole answer."""
    prompts = sum(len(one.prompt_ids) for one in answer.choices[:: call.n])
    sampled = sum(len(one.sample.token_ids) for one in answer.choices)
    return {
        "prompt_tokens": prompts,
        "completion_tokens": sampled,
        "total_tokens": prompts + sampled,
    }


def _digest(answer: Answer) -> str:
    return answer.choices[0].sample.adapter_digest


def _completion_logprobs(one: Choice, answer: Answer) -> CompletionLogprobs:
    sample = one.sample
    token_ids, told = list(sample.token_ids), list(sample.logprobs)
    if sample.prompt_logprobs is not None:
        token_ids = [*one.prompt_ids, *token_ids]
        told = [*sample.prompt_logprobs, *told]
    return CompletionTokens().told(token_ids, told, answer.texts)
