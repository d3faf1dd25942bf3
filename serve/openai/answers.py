"""The routes that models answer: chats and completions, whole or streamed."""

from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from serve.calls import Opened
from serve.openai.backend import Backend
from serve.openai.bodies import ChatBody, CompletionBody
from serve.openai.replies import as_json, chat_reply, completion_reply
from serve.openai.shapes import ERRORS, ChatReply, CompletionReply
from serve.openai.stream import Parts, events

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def add_answers(app: FastAPI, client: Backend) -> None:
    """Both routes. A client that goes away cancels its request, and that its rows."""

    @app.post(CHAT, responses={200: {"model": ChatReply}, **ERRORS})
    async def chat(body: ChatBody) -> Response:
        if body.stream:
            return await _streamed(client, body, chat=True)
        call = body.call()
        return as_json(chat_reply(call, await client.ask(call)))

    @app.post(COMPLETIONS, responses={200: {"model": CompletionReply}, **ERRORS})
    async def completions(body: CompletionBody) -> Response:
        if body.stream:
            return await _streamed(client, body, chat=False)
        call = body.call()
        return as_json(completion_reply(call, await client.ask(call)))


async def _streamed(client: Backend, body: ChatBody | CompletionBody, *, chat: bool) -> Response:
    """The stream once it has opened: what goes wrong before still has a status of its own."""
    call = body.call()
    gained = client.ask_stream(call)
    opened = await anext(gained)
    assert isinstance(opened, Opened)
    parts = Parts(call, opened, chat=chat, wants_usage=body.wants_usage)
    # Without the header some proxies hold the events back.
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(parts, gained), 200, headers, "text/event-stream")
