"""Streamed answers: server-sent events, in the order that OpenAI sends them.

First each choice's role (chats), then what it gains, then its finish_reason in a last part of its
own, then the usage when it was asked for, then `[DONE]`. What goes wrong on the way is an event
in OpenAI's shape, and the last one.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from actors.lm.requests import Piece
from serve.calls import Answer, Call, Delta, Opened
from serve.openai.errors import told
from serve.openai.logprobs import CompletionTokens, Texts, chat_logprobs
from serve.openai.replies import head, usage

_DONE = b"data: [DONE]\n\n"


class Parts:
    """The events of one stream; a chat's and a completion's differ in what a choice holds."""

    def __init__(self, call: Call, opened: Opened, *, chat: bool, wants_usage: bool) -> None:
        self._call, self._chat, self._wants_usage = call, chat, wants_usage
        prefix, kind = (
            ("chatcmpl", "chat.completion.chunk") if chat else ("cmpl", "text_completion")
        )
        self._head = {
            "object": kind,
            **head(prefix, opened.model, opened.fingerprint, opened.adapter_digest),
        }
        self._choices = len(call.prompts) * call.n
        self._tokens = [CompletionTokens() for _ in range(self._choices)]

    def opening(self) -> bytes:
        """The roles of a chat's choices."""
        if not self._chat:
            return b""
        role = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._choice(i, {"delta": role}, None) for i in range(self._choices))

    def gained(self, delta: Delta) -> bytes:
        """What choices gained. A piece without text is told where it has log-probabilities."""
        return b"".join(
            self._choice(i, self._piece(i, piece, delta.texts), None)
            for i, piece in delta.pieces
            if piece.text or (self._call.logprobs is not None and piece.token_ids)
        )

    def ending(self, answer: Answer) -> bytes:
        """How each choice ended, and the usage."""
        nothing: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        events = [
            self._choice(i, nothing, one.sample.finish_reason)
            for i, one in enumerate(answer.choices)
        ]
        if self._wants_usage:
            events.append(_event(self._head | {"choices": [], "usage": usage(self._call, answer)}))
        return b"".join(events) + _DONE

    def _piece(self, i: int, piece: Piece, texts: Texts) -> dict[str, Any]:
        logprobs = None
        if self._call.logprobs is not None:
            form = chat_logprobs if self._chat else self._tokens[i].told
            logprobs = form(piece.token_ids, piece.logprobs, texts)
        gained = {"delta": {"content": piece.text}} if self._chat else {"text": piece.text}
        return gained | {"logprobs": logprobs}

    def _choice(self, i: int, fields: dict[str, Any], finish_reason: str | None) -> bytes:
        choice = {"index": i, "logprobs": None, "finish_reason": finish_reason} | fields
        usage_so_far = {"usage": None} if self._wants_usage else {}
        return _event(self._head | {"choices": [choice]} | usage_so_far)


async def events(
    parts: Parts, gained: AsyncGenerator[Opened | Delta | Answer, None]
) -> AsyncIterator[bytes]:
    """The events of a stream that has opened. A client that goes away ends the stream's rows."""
    async with aclosing(gained):
        try:
            if opening := parts.opening():
                yield opening
            async for one in gained:
                if isinstance(one, Answer):
                    yield parts.ending(one)
                elif isinstance(one, Delta) and (event := parts.gained(one)):
                    yield event
        except Exception as error:
            # The status is sent by now: an event is all that can still tell of it.
            failure = told(error)
            yield _event(failure.body)
            if failure.is_ours:  # for the server's log
                raise


def _event(body: Any) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n\n"
