"""The endpoints of what is kept: training runs, checkpoints, and the download of an adapter.

A download's URLs are asked for with a key and used without one: each is signed, and good for an
hour. The secret that signs them ends with the server.
"""

import asyncio
import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse

from serve.openai.keys import SIGNED, check_admin
from serve.openai.replies import as_json
from serve.tinker_api.bodies import PathBody, TtlBody
from serve.tinker_api.front import Front
from serve.tinker_api.kept import Checkpoint, Run, now
from serve.tinker_api.paths import (
    API,
    CheckpointPath,
    absent,
    checkpoint_path,
    parse_path,
)
from serve.tinker_api.runs import Runs
from serve.tinker_api.store import FILES, Store

_RUNS = f"{API}/training_runs"
_ONE = f"{_RUNS}/{{run}}/checkpoints/{{kind}}/{{name}}"
_TYPES = {"weights": "training", "sampler_weights": "sampler", "external_weights": "external"}
_GOOD_FOR = timedelta(hours=1)


def add_records(app: FastAPI, front: Front) -> None:
    """All of them."""
    _add_runs(app, front.runs, front.store)
    _add_checkpoints(app, front.runs, front.store)
    _add_downloads(app, front.store)


def _add_runs(app: FastAPI, runs: Runs, store: Store) -> None:
    @app.get(_RUNS)
    async def training_runs(limit: int = 20, offset: int = 0) -> Response:
        found = await asyncio.to_thread(runs.all)
        shown = found[max(0, offset) :][: max(0, limit)]
        told = [await asyncio.to_thread(_run, store, run) for run in shown]
        return as_json({"training_runs": told, "cursor": _cursor(limit, offset, len(found))})

    @app.get(f"{_RUNS}/{{run}}")
    async def training_run(run: str) -> Response:
        return as_json(await asyncio.to_thread(lambda: _run(store, runs.read(run))))

    @app.post(f"{API}/weights_info")
    async def weights_info(body: PathBody) -> Response:
        found = await asyncio.to_thread(store.read, parse_path(body.tinker_path))
        told = {"base_model": found.base_model, "is_lora": True, "lora_rank": found.rank}
        layers = {"train_mlp": found.train_mlp, "train_attn": found.train_attn}
        return as_json(told | layers | {"train_unembed": False})


def _add_checkpoints(app: FastAPI, runs: Runs, store: Store) -> None:
    @app.get(f"{_RUNS}/{{run}}/checkpoints")
    async def checkpoints_of_run(run: str) -> Response:
        found = await asyncio.to_thread(lambda: store.checkpoints(runs.read(run).id))
        return as_json({"checkpoints": [_checkpoint(*pair) for pair in found.items()]})

    @app.get(f"{API}/checkpoints")
    async def checkpoints(limit: int = 100, offset: int = 0) -> Response:
        found = await asyncio.to_thread(store.checkpoints)
        shown = list(found.items())[max(0, offset) :][: max(0, limit)]
        told = [_checkpoint(*pair) for pair in shown]
        return as_json({"checkpoints": told, "cursor": _cursor(limit, offset, len(found))})

    @app.delete(_ONE)
    async def delete(run: str, kind: str, name: str, request: Request) -> Response:
        check_admin(request)
        await asyncio.to_thread(store.delete, checkpoint_path(run, f"{kind}/{name}"))
        return Response(status_code=204)

    @app.put(f"{_ONE}/ttl")
    async def ttl(run: str, kind: str, name: str, body: TtlBody, request: Request) -> Response:
        check_admin(request)
        path = checkpoint_path(run, f"{kind}/{name}")
        await asyncio.to_thread(store.set_ttl, path, body.ttl_seconds)
        return Response(status_code=204)


def _add_downloads(app: FastAPI, store: Store) -> None:
    secret = secrets.token_bytes(32)

    def sign(path: CheckpointPath, file: str, until: int) -> str:
        return hmac.digest(secret, f"{path}/{file}/{until}".encode(), hashlib.sha256).hex()

    @app.get(f"{_ONE}/external_weights_urls")
    async def external_weights_urls(run: str, kind: str, name: str, request: Request) -> Response:
        path = checkpoint_path(run, f"{kind}/{name}")
        await asyncio.to_thread(store.read, path)
        expires = now() + _GOOD_FOR
        until = int(expires.timestamp())
        start = f"{str(request.base_url).rstrip('/')}{SIGNED}{run}/{path.checkpoint_id}"
        urls = {
            file: f"{start}/{file}?until={until}&signature={sign(path, file, until)}"
            for file in FILES
        }
        return as_json({"urls": urls, "expires": expires.isoformat()})

    @app.get(f"{SIGNED}{{run}}/{{kind}}/{{name}}/{{file}}")
    async def download(
        run: str, kind: str, name: str, file: str, until: int, signature: str
    ) -> Response:
        path = checkpoint_path(run, f"{kind}/{name}")
        is_signed = hmac.compare_digest(sign(path, file, until).encode(), signature.encode())
        if not is_signed or until < now().timestamp():
            raise absent("this download's address is not good, or not any more; ask for a new one")
        size, pieces = await asyncio.to_thread(store.file, path, file)
        headers = {"Content-Length": str(size)}
        return StreamingResponse(pieces, 200, headers, "application/octet-stream")


def _run(store: Store, run: Run) -> dict[str, Any]:
    found = store.checkpoints(run.id)
    newest = {path.kind: _checkpoint(path, one) for path, one in reversed(found.items())}
    return {
        "training_run_id": run.id,
        "base_model": run.base_model,
        "model_owner": "hothouse",
        "is_lora": True,
        "lora_rank": run.rank,
        "last_request_time": max([run.created, *(one.created for one in found.values())]),
        "last_checkpoint": newest.get("weights"),
        "last_sampler_checkpoint": newest.get("sampler_weights"),
        "user_metadata": run.user_metadata,
    }


def _checkpoint(path: CheckpointPath, one: Checkpoint) -> dict[str, Any]:
    return {
        "checkpoint_id": path.checkpoint_id,
        "checkpoint_type": _TYPES[path.kind],
        "time": one.created,
        "tinker_path": str(path),
        "size_bytes": one.size_bytes,
        "user_metadata": one.user_metadata,
        "expires_at": one.expires,
    }


def _cursor(limit: int, offset: int, total: int) -> dict[str, int]:
    return {"offset": offset, "limit": limit, "total_count": total}
