"""OpenAI's replies and errors, from a replica's answers."""

import time
import uuid
from itertools import accumulate
from typing import Any

from serve.calls import Answer, Completion


def chat_reply(answer: Answer, *, logprobs: bool) -> dict[str, Any]:
    """A `chat.completion`."""
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": one.sample.text, "refusal": None},
            "finish_reason": one.sample.finish_reason,
            "logprobs": {"content": _chat_logprobs(one), "refusal": None} if logprobs else None,
        }
        for i, one in enumerate(answer.completions)
    ]
    return _reply("chatcmpl", "chat.completion", answer, choices)


def completion_reply(answer: Answer, *, logprobs: bool) -> dict[str, Any]:
    """A `text_completion`."""
    choices = [
        {
            "index": i,
            "text": one.sample.text,
            "finish_reason": one.sample.finish_reason,
            "logprobs": _completion_logprobs(one) if logprobs else None,
        }
        for i, one in enumerate(answer.completions)
    ]
    return _reply("cmpl", "text_completion", answer, choices)


def model_card(name: str, digest: str, base_name: str, started: int) -> dict[str, Any]:
    """One entry of `/v1/models`."""
    return {
        "id": name,
        "object": "model",
        "created": started,
        "owned_by": "hothouse",
        "parent": None if name == "base" else "base",
        "root": base_name,
        "digest": digest,
    }


def error_body(message: str, kind: str, *, param: str | None, code: str | None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _reply(prefix: str, kind: str, answer: Answer, choices: list[dict[str, Any]]) -> dict[str, Any]:
    generated = sum(len(one.sample.token_ids) for one in answer.completions)
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": answer.model,
        "system_fingerprint": answer.fingerprint,
        "adapter_digest": answer.completions[0].sample.adapter_digest,
        "choices": choices,
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": answer.prompt_tokens + generated,
        },
    }


def _chat_logprobs(one: Completion) -> list[dict[str, Any]]:
    return [
        {"token": text, "logprob": logprob, "bytes": _bytes(text), "top_logprobs": []}
        for text, logprob in zip(one.token_texts, one.sample.logprobs, strict=True)
    ]


def _bytes(text: str) -> list[int] | None:
    """None for a token that is a part of a character: its own bytes are not known here."""
    return None if "\ufffd" in text else list(text.encode())


def _completion_logprobs(one: Completion) -> dict[str, Any]:
    offsets = accumulate((len(text) for text in one.token_texts[:-1]), initial=0)
    return {
        "tokens": one.token_texts,
        "token_logprobs": one.sample.logprobs,
        "top_logprobs": None,
        "text_offset": list(offsets),
    }
