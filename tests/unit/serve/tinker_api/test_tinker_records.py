"""What is kept: checkpoints that are listed, told of, downloaded and deleted; sessions."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
import tinker
from tinker_data import train
from tinker_front import KEY, Opened

from actors.lm.adapter import read_adapter
from serve.tinker_api.entries import ENTRY
from serve.tinker_api.kept import now
from serve.tinker_api.paths import parse_path


@pytest.fixture
def client(service: tinker.ServiceClient, opened: Opened) -> tinker.TrainingClient:
    made = service.create_lora_training_client(
        opened.base, rank=4, seed=1, train_attn=False, user_metadata={"study": "a"}
    )
    return made.result()


def test_checkpoints_are_listed_told_of_and_deleted(
    client: tinker.TrainingClient, rest: tinker.RestClient, service: tinker.ServiceClient
) -> None:
    train(client, 1, seed=0)
    state = client.save_state("a", user_metadata={"note": "x"}).result().path
    sampler = client.save_weights_for_sampler("a").result().path
    run = rest.get_training_run(client.model_id).result()
    assert (run.base_model, run.lora_rank, run.user_metadata) == (
        client.get_info().model_data.model_name, 4, {"study": "a"},
    )  # fmt: skip
    assert run.last_checkpoint is not None
    assert run.last_checkpoint.tinker_path == state
    assert run.last_checkpoint.user_metadata == {"note": "x"}
    assert (run.last_checkpoint.size_bytes or 0) > 1000
    listed = rest.list_checkpoints(client.model_id).result().checkpoints
    assert {(one.tinker_path, one.checkpoint_type) for one in listed} == {
        (state, "training"),
        (sampler, "sampler"),
    }
    assert client.model_id in {
        one.training_run_id for one in rest.list_training_runs().result().training_runs
    }
    everything = rest.list_user_checkpoints().result()
    assert {state, sampler} <= {one.tinker_path for one in everything.checkpoints}
    assert everything.cursor is not None
    assert everything.cursor.total_count >= 2
    info = rest.get_weights_info_by_tinker_path(state).result()
    layers = (info.train_mlp, info.train_attn, info.train_unembed)
    assert (info.lora_rank, *layers) == (4, True, False, False)
    rest.delete_checkpoint_from_tinker_path(state).result()
    assert len(rest.list_checkpoints(client.model_id).result().checkpoints) == 1
    with pytest.raises(tinker.NotFoundError):
        service.create_training_client_from_state(state).result()
    with pytest.raises(tinker.NotFoundError):
        rest.delete_checkpoint_from_tinker_path(state).result()
    assert client.save_state("a").result().path == state  # its name is free again


def test_checkpoints_are_never_overwritten(client: tinker.TrainingClient) -> None:
    client.save_state("once").result()
    for overwrite in (False, True):
        with pytest.raises(tinker.RequestFailedError, match="never overwritten"):
            client.save_state("once", overwrite=overwrite).result()
    for name in ("../up", "a/b", "", ".hidden", "n" * 200):
        with pytest.raises(tinker.RequestFailedError, match="cannot name a checkpoint"):
            client.save_state(name).result()
    train(client, 1, seed=0)  # a save that failed changed nothing


def test_a_checkpoint_that_expires_is_gone(
    client: tinker.TrainingClient, rest: tinker.RestClient, opened: Opened
) -> None:
    path = client.save_state("brief", ttl_seconds=3600).result().path
    [listed] = rest.list_checkpoints(client.model_id).result().checkpoints
    assert listed.expires_at is not None
    rest.set_checkpoint_ttl_from_tinker_path(path, None).result()
    [listed] = rest.list_checkpoints(client.model_id).result().checkpoints
    assert listed.expires_at is None
    rest.set_checkpoint_ttl_from_tinker_path(path, 3600).result()
    folder = Path(opened.front.store.folder(parse_path(path)))
    entry = json.loads((folder / ENTRY).read_text())
    hours_ago = now() - timedelta(hours=2)
    (folder / ENTRY).write_text(json.dumps(entry | {"expires": hours_ago.isoformat()}))
    assert rest.list_checkpoints(client.model_id).result().checkpoints == []
    with pytest.raises(tinker.NotFoundError, match="no checkpoint"):
        rest.get_weights_info_by_tinker_path(path).result()
    asyncio.run(opened.front._expire())
    while folder.exists():  # the trainer removes it; the test's own time limit bounds it
        time.sleep(0.01)
    with pytest.raises(tinker.RequestFailedError, match=r"ttl_seconds=1000000000000000 must lie"):
        client.save_state("brief", ttl_seconds=10**15).result()


def test_an_adapter_is_downloaded_as_a_peft_directory(
    client: tinker.TrainingClient,
    opened: Opened,
    tmp_path: Path,
    rest: tinker.RestClient,
) -> None:
    train(client, 1, seed=0)
    state = client.save_state("final").result().path
    command = ["-m", "tinker.cli", "checkpoint", "download", state, "--output", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "TINKER_BASE_URL": opened.url, "TINKER_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    [folder] = tmp_path.iterdir()
    adapter = read_adapter(str(folder))
    assert adapter.base_model == opened.base
    assert not any("self_attn" in name for name in adapter.tensors)
    kept = opened.front.store.folder(parse_path(state))
    assert read_adapter(kept).digest == adapter.digest


def test_download_addresses_are_signed(
    client: tinker.TrainingClient, rest: tinker.RestClient
) -> None:
    path = client.save_weights_external("out").result().path
    urls = rest.get_external_weights_urls(path).result().urls
    assert {"adapter_config.json", "adapter_model.safetensors"} <= urls.keys()
    url = urls["adapter_config.json"]
    assert urllib.request.urlopen(url, timeout=30).read().startswith(b"{")
    start, _, signature = url.rpartition("=")
    other = url.replace("adapter_config.json", "manifest.json")
    for wrong in (f"{start}={'0' * len(signature)}", f"{start}=é", other):
        with pytest.raises((urllib.error.HTTPError, UnicodeEncodeError)) as caught:
            urllib.request.urlopen(wrong, timeout=30)
        assert getattr(caught.value, "code", 404) == 404


def test_what_the_server_can_do(rest: tinker.RestClient, opened: Opened) -> None:
    [model] = rest.get_server_capabilities().result().supported_models
    assert (model.model_name, model.max_context_length) == (opened.base, 512)
    assert model.trainable
    assert model.sampleable


def test_a_session_that_is_closed_gives_back_what_it_held(
    opened: Opened, rest: tinker.RestClient
) -> None:
    service = tinker.ServiceClient({"who": "me"}, base_url=opened.url, api_key=KEY)
    client = service.create_lora_training_client(opened.base, rank=2).result()
    sampler = client.save_weights_and_get_sampling_client().result()
    path = client.save_weights_for_sampler("kept").result().path
    session = service.holder.get_session_id()
    assert session in rest.list_sessions().result().sessions
    found = rest.get_session(session).result()
    assert (found.training_run_ids, found.user_metadata) == ([client.model_id], {"who": "me"})
    assert found.sampler_ids == [sampler._sampling_session_id]
    assert rest.get_sampler(found.sampler_ids[0]).result().base_model == opened.base
    service.close("success").result()
    assert session not in rest.list_sessions().result().sessions
    with pytest.raises(tinker.NotFoundError):
        rest.get_sampler(found.sampler_ids[0]).result()
    assert rest.get_weights_info_by_tinker_path(path).result().lora_rank == 2
