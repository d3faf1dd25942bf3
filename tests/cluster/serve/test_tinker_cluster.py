"""Tinker's SDK on the cluster: the trainer is an actor, its adapters reach replicas through Ray."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import psutil
import pytest
import ray
import tinker
from tinker import types
from tinker_data import datum, logprobs, train
from tinker_front import KEY

from configs.sections import ServerConfig
from serve.launch import http_server
from serve.openai.keys import Keys
from serve.shelf import Holdings

PROMPT = [72, 101, 108, 108, 111]


@pytest.fixture(scope="module")
def url(
    ray_cluster: None, base_model: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with http_server(
        base_model,
        {},
        ServerConfig(device="cpu", max_adapters=2),
        host="127.0.0.1",
        port=port,
        keys=Keys(),
        max_body_bytes=2**24,
        holdings=Holdings(str(tmp_path_factory.mktemp("storage"))),
        tinker=True,
    ) as serving:
        assert serving.trains_on == "cpu"
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def service(url: str) -> Iterator[tinker.ServiceClient]:
    service = tinker.ServiceClient(base_url=url, api_key=KEY)
    yield service
    service.close("success").result()


def _told(sampler: tinker.SamplingClient) -> list[Any]:
    first, *rest = sampler.compute_logprobs(types.ModelInput.from_ints(PROMPT)).result()
    assert first is None
    return rest


@ray.remote(num_cpus=0)
def _sample(sampler: tinker.SamplingClient) -> list[int]:
    """What an actor of somebody's own does with a sampler that it was sent."""
    params = types.SamplingParams(max_tokens=5, seed=1)
    asked = sampler.sample(types.ModelInput.from_ints(PROMPT), 1, params)
    return asked.result().sequences[0].tokens


def test_samplers_have_the_trainers_weights_each_its_own(
    service: tinker.ServiceClient, base_model: str
) -> None:
    """More samplers than slots, published through Ray and from the storage root."""
    client = service.create_lora_training_client(os.path.realpath(base_model), rank=4).result()
    samplers, expected = [], []
    for step in range(4):
        passed = client.forward([datum(PROMPT)], "cross_entropy").result()
        expected.append(logprobs(passed)[0])
        if step % 2:
            samplers.append(client.save_weights_and_get_sampling_client().result())
        else:
            path = client.save_weights_for_sampler(f"step-{step}").result().path
            samplers.append(service.create_sampling_client(model_path=path).result())
        train(client, 1, seed=step)
    for sampler, wanted in zip(samplers, expected, strict=True):
        assert _told(sampler) == pytest.approx(wanted, abs=1e-4)
    params = types.SamplingParams(max_tokens=5, seed=1)
    here = samplers[1].sample(types.ModelInput.from_ints(PROMPT), 1, params).result()
    assert ray.get(_sample.remote(samplers[1])) == here.sequences[0].tokens


def test_a_name_that_was_deleted_stands_for_its_new_content(
    service: tinker.ServiceClient, base_model: str, url: str
) -> None:
    client = service.create_lora_training_client(os.path.realpath(base_model), rank=2).result()
    path = client.save_weights_for_sampler("one").result().path
    old = service.create_sampling_client(model_path=path).result()
    before = _told(old)
    rest = tinker.RestClient(base_url=url, api_key=KEY)
    rest.delete_checkpoint_from_tinker_path(path).result()
    train(client, 2, seed=0)
    assert client.save_weights_for_sampler("one").result().path == path
    body = {"model": path, "prompt": PROMPT, "max_tokens": 1}
    assert httpx2.post(f"{url}/v1/completions", json=body).json()["model"] == f"{path}@2"
    new = service.create_sampling_client(model_path=path).result()
    assert _told(new) != pytest.approx(before, abs=1e-4)
    assert _told(old) == pytest.approx(before, abs=1e-5)


def test_a_trainer_that_is_killed_comes_back(
    service: tinker.ServiceClient, base_model: str
) -> None:
    client = service.create_lora_training_client(os.path.realpath(base_model), rank=2).result()
    train(client, 1, seed=0)
    state = client.save_state("kept").result().path
    expected = train(client, 1, seed=1)
    mine = psutil.Process().children(recursive=True)
    [trainer] = [process for process in mine if process.cmdline()[:1] == ["ray::Trainer"]]
    trainer.kill()
    with pytest.raises(tinker.RequestFailedError, match="anew from its last checkpoint") as caught:
        train(client, 1, seed=2)
    assert caught.value.category == "server"
    resumed = service.create_training_client_from_state_with_optimizer(state).result()
    assert train(resumed, 1, seed=1) == expected
