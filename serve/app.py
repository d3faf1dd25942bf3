"""The HTTP face of the server: OpenAI's API, and vLLM's routes for adapters, over a client.

A body is parsed once and a reply dumped once; everything between them is the client's.
"""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from serve.calls import Overloaded, Unavailable
from serve.openai.answers import CHAT, COMPLETIONS, add_answers
from serve.openai.backend import Backend
from serve.openai.errors import Refused, told
from serve.openai.hangup import Hangup
from serve.openai.keys import KeyCheck, Keys
from serve.openai.limits import BodyLimit
from serve.openai.metrics import Metrics
from serve.openai.models import LOAD, MODELS, TOKENIZE, UNLOAD, add_models
from serve.openai.signs import HEALTH, METRICS, add_signs

_ROUTES = (CHAT, COMPLETIONS, MODELS, LOAD, UNLOAD, TOKENIZE, HEALTH, METRICS)
_ERRORS = (
    RequestValidationError,
    HTTPException,
    Refused,
    UnknownAdapter,
    BadRequest,
    RefusedAdapter,
    BrokenAdapter,
    Overloaded,
    Unavailable,
    Exception,  # Starlette raises it again after the answer: the server's log has the trace
)


def build_app(
    client: Backend,
    keys: Keys,
    max_body_bytes: int,
    add_more: Callable[[FastAPI], None] = lambda app: None,
) -> FastAPI:
    """The routes behind their layers, and every error in OpenAI's shape.

    `add_more` adds another protocol's routes to the same app.
    """
    app = FastAPI(title="hothouse", docs_url=None, redoc_url=None, redirect_slashes=False)
    metrics = Metrics(_ROUTES)
    app.add_middleware(Hangup)
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(KeyCheck, keys=keys)
    app.add_middleware(metrics.layer)  # the last one added is the first one passed
    for kind in _ERRORS:
        app.add_exception_handler(kind, _failed)
    add_answers(app, client)
    add_models(app, client)
    add_signs(app, client, metrics)
    add_more(app)
    return app


async def _failed(request: Request, error: Exception) -> Response:
    return told(error, request.url.path).response()
