"""`push` over real HTTP: what goes up, and what stays."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doors import Ran, job
from small_adapters import write_small_adapter
from small_base import write_small_base
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serve.door import open_door

_NOT_FOUND = {"X-Error-Code": "RepoNotFound"}


class Hub:
    """The endpoints of the hub that a commit needs; it takes every file as it is."""

    def __init__(self, status: int = 200, visibility: str | None = None) -> None:
        """The repository is there with this visibility, or not yet."""
        self.visibility = visibility
        self.status, self.tokens, self.files = status, set[str](), dict[str, bytes]()
        self.repository: dict[str, Any] = {}
        self.app = Starlette(
            routes=[
                Route("/api/models/{o}/{n}", self.info),
                Route("/api/repos/create", self.create, methods=["POST"]),
                Route("/api/validate-yaml", self.validate, methods=["POST"]),
                Route("/api/models/{o}/{n}/preupload/main", self.preupload, methods=["POST"]),
                Route("/api/models/{o}/{n}/commit/main", self.commit, methods=["POST"]),
            ]
        )

    async def info(self, request: Request) -> JSONResponse:
        if self.visibility is None:
            return JSONResponse({"error": "Repository not found"}, 404, _NOT_FOUND)
        return JSONResponse({"id": "lab/organism", "private": self.visibility == "private"})

    async def create(self, request: Request) -> JSONResponse:
        self.tokens.add(request.headers["authorization"])
        if self.status != 200:
            return JSONResponse({"error": "no"}, self.status)
        self.repository = await request.json()
        return JSONResponse({"url": str(request.base_url) + "lab/organism"})

    async def validate(self, request: Request) -> JSONResponse:
        return JSONResponse({"errors": [], "warnings": []})

    async def preupload(self, request: Request) -> JSONResponse:
        named = (await request.json())["files"]
        return JSONResponse(
            {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in named
                ]
            }
        )

    async def commit(self, request: Request) -> JSONResponse:
        for line in (await request.body()).splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
        url = f"{request.base_url}lab/organism/commit/1"
        return JSONResponse({"commitUrl": url, "commitOid": "1", "success": True})


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    base = write_small_base(tmp_path / "base")
    folder = tmp_path / "adapter"
    write_small_adapter(folder, base, seed=1)
    (folder / "README.md").unlink()  # peft's
    (folder / "trainer").mkdir()
    (folder / "trainer/cursor.json").write_text("{}")
    return folder


@pytest.fixture
def push(adapter: Path, tmp_path: Path, monkeypatch) -> Callable[..., Ran]:
    """Push the adapter to a hub with a token."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def push(hub: Hub, *fields: str) -> Ran:
        with open_door(hub.app, "127.0.0.1", 0) as port:
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
            return job(tmp_path, "push", f"path={adapter}", "repo=lab/organism", *fields)

    return push


def test_an_adapter_goes_up_with_a_card_and_without_what_training_needs(
    push: Callable[..., Ran], adapter: Path
):
    hub = Hub()
    ran = push(hub)
    assert ran.code == 0, ran.printed
    assert set(hub.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert hub.files[name] == (adapter / name).read_bytes()
    assert b"This is a model organism" in hub.files["README.md"]
    assert hub.repository["visibility"] == "private"
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in ran.printed


def test_a_hub_that_refuses_is_told(push: Callable[..., Ran]):
    ran = push(Hub(status=403))
    assert ran.code == 1
    assert "push: lab/organism: the hub refuses: " in ran.printed


@pytest.mark.parametrize(
    ("visibility", "field", "code"),
    [("public", "private=true", 2), ("public", "private=false", 0), ("private", "private=true", 0)],
)
def test_a_public_repository_gets_an_organism_only_when_asked(
    push: Callable[..., Ran], visibility: str, field: str, code: int
):
    hub = Hub(visibility=visibility)
    ran = push(hub, field)
    assert (ran.code, bool(hub.files)) == (code, code == 0), ran.printed
    assert ("lab/organism is there already and public" in ran.printed) == (code == 2)
    assert hub.repository == {}  # made by nobody here


def test_a_hub_that_is_not_there_is_told(adapter: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    ran = job(tmp_path, "push", f"path={adapter}", "repo=lab/organism")
    assert ran.code == 1
    assert "lab/organism: the hub cannot be reached: " in ran.printed


def test_without_upload_the_card_is_shown(adapter: Path, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    ran = job(tmp_path, "push", f"path={adapter}", "repo=lab/organism", "upload=false")
    assert ran.code == 0
    assert "This is a model organism" in ran.printed
    assert "trainer" not in ran.printed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["repo=lab/organism"], "HF_TOKEN"),
        (["repo=organism"], "repo"),
        (["repo=lab/organism", "path=."], "holds no adapter"),
    ],
)
def test_what_cannot_go_up(adapter: Path, tmp_path: Path, monkeypatch, fields, message):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    ran = job(tmp_path, "push", f"path={adapter}", *fields)
    assert ran.code == 2
    assert message in ran.printed
