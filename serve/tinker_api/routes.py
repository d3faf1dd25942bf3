"""All endpoints of the protocol, beside those of OpenAI's API in one app."""

from fastapi import FastAPI

from serve.tinker_api.front import Front
from serve.tinker_api.records import add_records
from serve.tinker_api.sampling_routes import add_sampling
from serve.tinker_api.session_routes import add_sessions
from serve.tinker_api.training_routes import add_training


def add_tinker(app: FastAPI, front: Front) -> None:
    """The routes; the app's layers and error handlers hold for them too."""
    add_sessions(app, front)
    add_training(app, front)
    add_sampling(app, front)
    add_records(app, front)
