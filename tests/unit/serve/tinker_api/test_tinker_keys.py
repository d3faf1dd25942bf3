"""Keys: sampling ones sample and read, admin ones also train, save, load and delete."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import tinker
from fastapi.routing import APIRoute
from tinker import types
from tinker_data import train
from tinker_front import Opened, bare_app, local_front

from serve.openai.keys import keys_from

USER, ADMIN = "tml-user", "tml-admin"
API = "/api/v1"
WITHOUT_A_KEY = {"/healthz", "/download/{run}/{kind}/{name}/{file}"}
WITH_A_SAMPLING_KEY = {
    "/client/config", "/client/dynamic_config", "/get_server_capabilities", "/telemetry",
    "/create_session", "/session_heartbeat", "/sessions", "/sessions/{session_id}",
    "/sessions/{session_id}/finish",
    "/create_sampling_session", "/samplers/{sampler}", "/asample", "/retrieve_future",
    "/cancel_future",
    "/training_runs", "/training_runs/{run}", "/training_runs/{run}/checkpoints", "/checkpoints",
    "/weights_info", "/training_runs/{run}/checkpoints/{kind}/{name}/external_weights_urls",
}  # fmt: skip
ROUTES = [route for route in bare_app().routes if isinstance(route, APIRoute)]


@pytest.fixture(scope="module")
def guarded(base_directory: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A front with keys."""
    given = {"HOTHOUSE_API_KEYS": USER, "HOTHOUSE_ADMIN_KEYS": ADMIN}
    keys = keys_from(given, on_loopback=True)
    with local_front(base_directory, tmp_path_factory.mktemp("guarded"), keys) as opened:
        yield opened


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path.removeprefix(API))
def test_what_a_route_wants(guarded: Opened, route: APIRoute) -> None:
    path = route.path.removeprefix(API)
    [method] = route.methods

    def ask(headers: dict[str, str]) -> int:
        body: Any = None if method == "GET" else {}
        return httpx2.request(
            method, f"{guarded.url}{route.path}", json=body, headers=headers
        ).status_code

    assert (ask({}) == 401) == (path not in WITHOUT_A_KEY)
    is_open = path in WITHOUT_A_KEY | WITH_A_SAMPLING_KEY
    assert (ask({"X-API-Key": USER}) == 403) == (not is_open)
    assert ask({"X-API-Key": ADMIN}) not in (401, 403)


def test_a_sampling_key_samples_and_downloads(guarded: Opened) -> None:
    with pytest.raises(tinker.AuthenticationError):
        tinker.ServiceClient(base_url=guarded.url, api_key="tml-wrong").holder.get_session_id()
    with tinker.ServiceClient(base_url=guarded.url, api_key=USER) as user:
        sampler = user.create_sampling_client(base_model=guarded.base).result()
        prompt = types.ModelInput.from_ints([1, 2])
        assert sampler.sample(prompt, 1, types.SamplingParams(max_tokens=1)).result()
        with pytest.raises(tinker.PermissionDeniedError):
            user.create_lora_training_client(guarded.base).result()
        session = user.holder.get_session_id()
    rest = tinker.RestClient(base_url=guarded.url, api_key=USER)
    assert session not in rest.list_sessions().result().sessions  # it could end its own
    with tinker.ServiceClient(base_url=guarded.url, api_key=ADMIN) as admin:
        client = admin.create_lora_training_client(guarded.base, rank=2).result()
        path = client.save_weights_external("x").result().path
    urls: dict[str, Any] = rest.get_external_weights_urls(path).result().urls
    assert urllib.request.urlopen(urls["manifest.json"], timeout=30).status == 200


def test_a_sampling_key_does_not_end_a_session_that_trains(guarded: Opened) -> None:
    with tinker.ServiceClient(base_url=guarded.url, api_key=ADMIN) as admin:
        client = admin.create_lora_training_client(guarded.base, rank=2).result()
        address = f"{guarded.url}{API}/sessions/{admin.holder.get_session_id()}/finish"
        reply = httpx2.post(
            address, json={"reason": {"type": "success"}}, headers={"X-API-Key": USER}
        )
        assert reply.status_code == 403
        assert train(client, 1, seed=0)
