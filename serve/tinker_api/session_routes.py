"""The SDK's housekeeping: what it asks before it begins, its signs of life, its end."""

from fastapi import FastAPI, Request
from starlette.responses import Response
from tinker import types

from serve.openai.keys import check_admin
from serve.openai.replies import as_json
from serve.tinker_api.bodies import FinishBody
from serve.tinker_api.front import Front
from serve.tinker_api.lora import HEAD_NOTE
from serve.tinker_api.paths import API

_FLAGS = {
    "pjwt_auth_enabled": False,
    "parallel_fwdbwd_chunks": True,
    "proto_compress_fwdbwd": False,
    "sample_use_retrieve_futures": False,
    "custom_loss_server_side": False,
    "sample_join_sampling_session": False,
}


def add_sessions(app: FastAPI, front: Front) -> None:
    """All of them."""

    @app.get(f"{API}/healthz")
    async def healthz() -> Response:
        return as_json({"status": "ok"})

    @app.post(f"{API}/client/config")
    async def client_config(body: types.ClientConfigRequest) -> Response:
        return as_json(_FLAGS)

    @app.post(f"{API}/client/dynamic_config")
    async def dynamic_config(body: types.ClientConfigRequest) -> Response:
        return as_json({"sample_cancel_enabled": True})

    @app.get(f"{API}/get_server_capabilities")
    async def capabilities() -> Response:
        models = [
            {
                "model_name": name,
                "max_context_length": front.context_tokens,
                "trainable": True,
                "sampleable": True,
            }
            for name in front.base_names
        ]
        return as_json({"supported_models": models})

    @app.post(f"{API}/create_session")
    async def create_session(body: types.CreateSessionRequest) -> Response:
        session = front.open_session(body.user_metadata, body.display_name)
        return as_json(
            {"type": "create_session", "session_id": session.id, "info_message": HEAD_NOTE}
        )

    @app.post(f"{API}/session_heartbeat")
    async def heartbeat(body: types.SessionHeartbeatRequest) -> Response:
        front.sessions.alive(body.session_id)
        return as_json({"type": "session_heartbeat"})

    @app.post(f"{API}/sessions/{{session_id}}/finish")
    async def finish(session_id: str, body: FinishBody, request: Request) -> Response:
        if front.sessions.alive(session_id).runs:
            check_admin(request)  # their adapters are not a sampling key's to end
        front.end_session(session_id)
        return Response(status_code=204)

    @app.get(f"{API}/sessions")
    async def sessions(limit: int = 20, offset: int = 0) -> Response:
        return as_json({"sessions": front.sessions.ids[max(0, offset) :][: max(0, limit)]})

    @app.get(f"{API}/sessions/{{session_id}}")
    async def session(session_id: str) -> Response:
        found = front.sessions.alive(session_id)
        told = {"training_run_ids": found.runs, "display_name": found.display_name}
        samplers = front.samplers.of_session(found.id)
        return as_json(told | {"sampler_ids": samplers, "user_metadata": found.user_metadata})

    @app.post(f"{API}/telemetry")
    async def telemetry(request: Request) -> Response:
        return as_json({"status": "accepted"})
