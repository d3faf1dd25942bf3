"""The endpoints of samplers, and the one where the outcomes of all requests are asked for."""

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response
from tinker import types

from serve.openai.replies import as_json
from serve.tinker_api.bodies import CancelBody
from serve.tinker_api.front import Front
from serve.tinker_api.paths import API, invalid, request_id, sampler_id
from serve.tinker_api.sample_calls import call_of
from serve.tinker_api.training_routes import promise

_PATIENCE_S = 20.0  # of one question for an outcome; the SDK gives it 45
_STILL_RUNS = {"type": "try_again", "queue_state": "active"}


def add_sampling(app: FastAPI, front: Front) -> None:
    """All of them."""

    @app.post(f"{API}/create_sampling_session")
    async def create_sampling_session(body: types.CreateSamplingSessionRequest) -> Response:
        session = front.sessions.alive(body.session_id)
        sampler = sampler_id(session.id, body.sampling_session_seq_id)
        if sampler not in front.samplers:
            if body.model_path is not None:
                await front.samplers.of_checkpoint(sampler, body.model_path)
            elif body.base_model is not None:
                front.check_base(body.base_model)
                front.samplers.of_base(sampler)
            else:
                raise invalid("either base_model or model_path must be given")
        elif front.samplers.get(sampler).model_path != body.model_path:
            number = body.sampling_session_seq_id
            raise invalid(f"sampling_session_seq_id={number} is a sampler of other weights already")
        return as_json({"type": "create_sampling_session", "sampling_session_id": sampler})

    @app.post(f"{API}/asample")
    async def asample(body: types.SampleRequest) -> Response:
        if body.sampling_session_id is None or body.seq_id is None:
            raise invalid("sampling_session_id and seq_id must be given")
        front.sessions.alive(body.sampling_session_id)
        sampler = front.samplers.get(body.sampling_session_id)
        call = call_of(body, sampler.adapter)
        request = request_id(sampler.id, body.seq_id)
        if request not in front.futures:
            front.futures.begin(request, front.samplers.sample(call, body))
        ids = [f"{request}:{i}" for i in range(body.num_samples)]
        return promise(request, sample_sequence_ids=ids)

    @app.get(f"{API}/samplers/{{sampler}}")
    async def get_sampler(sampler: str) -> Response:
        found = front.samplers.get(sampler)
        told = {"sampler_id": found.id, "base_model": front.base_name}
        return as_json(told | ({"model_path": found.model_path} if found.model_path else {}))

    @app.post(f"{API}/retrieve_future")
    async def retrieve_future(body: types.FutureRetrieveRequest) -> Response:
        front.sessions.alive(body.request_id)
        outcome = await front.futures.wait(body.request_id, _PATIENCE_S)
        if outcome is None:
            return JSONResponse(_STILL_RUNS, 408)
        return Response(outcome.body, media_type=outcome.media_type)

    @app.post(f"{API}/cancel_future")
    async def cancel_future(body: CancelBody) -> Response:
        # A training client's turns go on all the same: those after it count on them.
        if front.samplers.asked(body.request_id):
            front.futures.cancel(body.request_id)
        return Response(status_code=204)
