"""The endpoints that make, train, keep and load adapters; all of them are an admin key's.

A request that has its number is never refused outright: it takes its turn and fails there, or
those after it would wait for ever.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response
from tinker import types

from actors.lm.tiny import tiny_directory, tiny_name
from serve.openai.errors import Failure, Refused
from serve.openai.keys import check_admin
from serve.openai.replies import as_json
from serve.tinker_api import wire
from serve.tinker_api.front import Front
from serve.tinker_api.futures import PROTOBUF, Outcome
from serve.tinker_api.operations import Loading, Saving
from serve.tinker_api.paths import (
    API,
    CheckpointPath,
    Kind,
    invalid,
    parse_path,
    sampler_id,
)


def add_training(app: FastAPI, front: Front) -> None:
    """All of them."""
    router = APIRouter(prefix=API, dependencies=[Depends(check_admin)])
    _add_making(router, front)
    _add_steps(router, front)
    _add_keeping(router, front)
    app.include_router(router)


def promise(request: str, **fields: Any) -> Response:
    """The id by which the outcome is asked for."""
    return as_json({"request_id": request, **fields})


def _add_making(router: APIRouter, front: Front) -> None:
    @router.post("/create_model")
    async def create_model(body: types.CreateModelRequest) -> Response:
        front.check_base(body.base_model)
        _check_optimizer(body.optimizer_config)
        lora = body.lora_config
        if lora is None:
            raise invalid("lora_config is missing: only LoRA adapters are trained here")
        run = front.new_run(
            body.session_id, body.model_seq_id, body.user_metadata, rank=lora.rank,
            seed=lora.seed, train_mlp=lora.train_mlp, train_attn=lora.train_attn,
        )  # fmt: skip
        return promise(front.training.create(run, None), model_id=run.id)

    @router.post("/load_weights")
    async def load_weights(body: types.LoadWeightsRequest) -> Response:
        if body.model_id is not None:
            return promise(_load(front, body.model_id, _seq(body.seq_id), body))
        if body.session_id is None or body.model_seq_id is None:
            raise invalid("either model_id, or session_id and model_seq_id must be given")
        loading = _loading(body)
        checkpoint = await asyncio.to_thread(front.store.read, loading.path)
        front.check_base(body.base_model or checkpoint.base_model)
        run = front.new_run(
            body.session_id, body.model_seq_id, body.user_metadata, rank=checkpoint.rank,
            seed=0, train_mlp=checkpoint.train_mlp, train_attn=checkpoint.train_attn,
        )  # fmt: skip
        return promise(front.training.create(run, loading), model_id=run.id)

    @router.post("/get_info")
    async def get_info(body: types.GetInfoRequest) -> Response:
        run = front.training.run(body.model_id)
        # `tiny` is in the user's cache folder: no hub knows it.
        tokenizer = str(tiny_directory()) if run.base_model == tiny_name() else run.base_model
        data = {"arch": "", "model_name": run.base_model, "tokenizer_id": tokenizer}
        told = {"type": "get_info", "model_data": data, "model_id": run.id, "is_lora": True}
        return as_json(told | {"lora_rank": run.rank, "model_name": run.base_model})


def _add_steps(router: APIRouter, front: Front) -> None:
    @router.post("/forward_backward")
    async def forward_backward(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith(PROTOBUF):
            raise Refused(Failure(415, f"The body must be {PROTOBUF}."))
        body = await request.body()
        try:
            message = wire.parse_pass(body)
        except ValueError as error:
            raise invalid(str(error)) from None
        return promise(front.training.run_pass(message.model_id, _seq(message.seq_id), body))

    @router.post("/optim_step")
    async def optim_step(body: types.OptimStepRequest) -> Response:
        params = body.optim_params.model_dump()
        return promise(front.training.step(body.model_id, _seq(body.seq_id), params))


def _add_keeping(router: APIRouter, front: Front) -> None:
    def save(body: Any, kind: Kind, user_metadata: dict[str, str] | None) -> Response:
        seq_id = _seq(body.seq_id)
        name = f"{seq_id:06d}" if body.path is None else body.path
        saving = Saving(CheckpointPath(body.model_id, kind, name), body.ttl_seconds, user_metadata)
        return promise(front.training.save(body.model_id, seq_id, saving, body.type))

    @router.post("/save_weights")
    async def save_weights(body: types.SaveWeightsRequest) -> Response:
        return save(body, "weights", body.user_metadata)

    @router.post("/save_weights_external")
    async def save_weights_external(body: types.SaveWeightsExternalRequest) -> Response:
        if body.age_encryption_recipients:
            text = "age_encryption_recipients: this server does not encrypt"
            seq_id = _seq(body.seq_id)
            return promise(front.training.refuse(body.model_id, seq_id, text, changes=False))
        return save(body, "external_weights", None)

    @router.post("/save_weights_for_sampler")
    async def save_weights_for_sampler(body: types.SaveWeightsForSamplerRequest) -> Response:
        if body.path is not None or body.sampling_session_seq_id is None:
            return save(body, "sampler_weights", body.user_metadata)
        session = front.sessions.alive(body.model_id)
        sampler = sampler_id(session.id, body.sampling_session_seq_id)

        async def publish(snapshot: list[Any]) -> Outcome:
            return await front.samplers.of_snapshot(sampler, snapshot)

        return promise(front.training.snapshot(body.model_id, _seq(body.seq_id), publish))


def _load(front: Front, model_id: str, seq_id: int, body: types.LoadWeightsRequest) -> str:
    try:
        loading = _loading(body)
    except Refused as refused:
        message = refused.failure.message.rstrip(".")
        return front.training.refuse(model_id, seq_id, message, changes=True)
    return front.training.load(model_id, seq_id, loading)


def _loading(body: types.LoadWeightsRequest) -> Loading:
    """What is to be loaded; refused for what cannot be here."""
    if body.weights_access_token is not None:
        raise invalid("weights_access_token: there are no other accounts here; leave it out")
    _check_optimizer(body.optimizer_config)
    return Loading(parse_path(body.path), body.optimizer)


def _seq(seq_id: int | None) -> int:
    if seq_id is None or seq_id < 1:
        raise invalid(f"seq_id={seq_id} must be at least 1")
    return seq_id


def _check_optimizer(config: Any) -> None:
    if config is not None and config.type != "adamw":
        raise invalid(f'optimizer "{config.type[:80]}": adamw is the only one here')
