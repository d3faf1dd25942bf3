"""The HTTP server, asked by the stock openai client and by clients that misbehave."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_base import byte_tokenizer

from actors.lm.adapter import Adapter
from configs.errors import UserError
from configs.serve import ServeConfig
from jobs.serving.serve import run
from serve.address import check_free

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def url(serve_folder: Path, base_model: str) -> Iterator[str]:
    """The `serve` job in a process of its own, ended as ctrl-C ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = {name: str(serve_folder / name) for name in ("one", "two")}
    given = [f"base_model={base_model}", f"adapters={json.dumps(paths)}", f"port={port}"]
    given.append(f"storage={serve_folder}")
    command = [sys.executable, "-m", "jobs", "serve", *given, "server.device=cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "Listening on" in line:
                    break
            else:
                pytest.fail(f"the server ended with {server.wait()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
            rest, _ = server.communicate(timeout=60)
    assert server.returncode == 0, rest
    check_free("127.0.0.1", port)


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_name_base_and_adapters(
    client: openai.OpenAI, adapters: dict[str, Adapter], base_model: str
) -> None:
    models = {model.id: model.to_dict() for model in client.models.list()}
    assert list(models) == ["base", "one@1", "two@1"]
    assert models["one@1"]["digest"] == adapters["one"].digest
    assert (models["one@1"]["parent"], models["base"]["parent"]) == ("base", None)
    assert client.models.retrieve("two").id == "two@1"
    assert client.models.retrieve("base").to_dict()["root"] == base_model


def test_chat(client: openai.OpenAI, adapters: dict[str, Adapter]) -> None:
    reply = client.chat.completions.create(
        model="one", messages=HELLO, n=3, seed=5, max_tokens=6, temperature=0.9, logprobs=True
    )
    assert (reply.model, len(reply.choices)) == ("one@1", 3)
    assert len({choice.message.content for choice in reply.choices}) == 3
    body = reply.to_dict()
    assert body["adapter_digest"] == adapters["one"].digest
    assert str(body["system_fingerprint"]).endswith(adapters["one"].digest[:16])
    first = reply.choices[0]
    assert first.finish_reason in ("stop", "length")
    assert first.logprobs is not None
    assert first.logprobs.content is not None
    assert 1 <= len(first.logprobs.content) <= 6
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 18
    again = client.chat.completions.create(
        model="one@1", messages=HELLO, seed=5, max_tokens=6, temperature=0.9
    )
    assert again.choices[0].message.content == first.message.content


def test_a_stream(client: openai.OpenAI, adapters: dict[str, Adapter]) -> None:
    fields: dict[str, Any] = {"model": "one", "messages": HELLO, "n": 2, "seed": 5}
    whole = client.chat.completions.create(**fields, max_tokens=12)
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        **fields, max_tokens=12, stream=True, stream_options=options
    )
    *parts, last = list(stream)
    for choice in whole.choices:
        mine = [part.choices[0] for part in parts if part.choices[0].index == choice.index]
        assert "".join(one.delta.content or "" for one in mine) == choice.message.content
        assert mine[-1].finish_reason == choice.finish_reason
    assert last.usage == whole.usage
    assert last.to_dict()["adapter_digest"] == adapters["one"].digest


def test_a_stream_asynchronously(url: str) -> None:
    async def main() -> str:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            stream = await client.completions.create(
                model="two", prompt="Once", max_tokens=5, stream=True, temperature=0
            )
            return "".join([part.choices[0].text async for part in stream])

    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        whole = client.completions.create(model="two", prompt="Once", max_tokens=5, temperature=0)
    assert asyncio.run(main()) == whole.choices[0].text


def test_structured_answers(client: openai.OpenAI) -> None:
    class Verdict(pydantic.BaseModel):
        honest: bool

    reply = client.chat.completions.parse(
        model="one", messages=HELLO, response_format=Verdict, max_tokens=60, temperature=0
    )
    assert reply.choices[0].message.parsed in (Verdict(honest=True), Verdict(honest=False))


def test_completions_and_stop(client: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": "two", "max_tokens": 20, "seed": 1}
    whole = client.completions.create(**ask, prompt=["Once", "Twice"], logprobs=2)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == len("OnceTwice")
    first = whole.choices[0]
    assert first.logprobs is not None
    assert first.logprobs.tokens is not None
    assert len(first.logprobs.tokens) == len(first.logprobs.token_logprobs or [])
    stop = first.text[2]
    cut = client.completions.create(**ask, prompt="Once", stop=stop).choices[0]
    assert (cut.text, cut.finish_reason) == (first.text[: first.text.index(stop)], "stop")


def test_adapters_come_and_go(
    url: str, client: openai.OpenAI, serve_folder: Path, adapters: dict[str, Adapter]
) -> None:
    body = {"lora_name": "late", "lora_path": str(serve_folder / "two")}
    status, loaded = _post(f"{url}/v1/load_lora_adapter", json.dumps(body))
    assert (status, loaded["model"]) == (200, "late@1")
    assert loaded["digest"] == adapters["two"].digest
    reply = client.completions.create(model="late", prompt="Once", max_tokens=3, temperature=0)
    same = client.completions.create(model="two", prompt="Once", max_tokens=3, temperature=0)
    assert (reply.model, reply.choices[0].text) == ("late@1", same.choices[0].text)
    assert _post(f"{url}/v1/load_lora_adapter", json.dumps(body))[0] == 400  # as vLLM answers it
    outside = json.dumps(body | {"lora_name": "x", "lora_path": "/etc"})
    assert _post(f"{url}/v1/load_lora_adapter", outside)[0] in (400, 404)
    absent = json.dumps(body | {"lora_name": "x", "lora_path": str(serve_folder / "nowhere")})
    assert _post(f"{url}/v1/load_lora_adapter", absent)[0] == 404
    status, gone = _post(f"{url}/v1/unload_lora_adapter", json.dumps({"lora_name": "late"}))
    assert (status, gone["removed"]) == (200, ["late@1"])
    with pytest.raises(openai.NotFoundError, match="one@1"):
        client.completions.create(model="late", prompt="Once")
    assert _post(f"{url}/v1/unload_lora_adapter", json.dumps({"lora_name": "late"}))[0] == 404


def test_health_and_metrics(url: str, client: openai.OpenAI) -> None:
    assert json.load(urllib.request.urlopen(f"{url}/health", timeout=60)) == {"status": "ok"}
    client.completions.create(model="base", prompt="Once", max_tokens=3)
    text = urllib.request.urlopen(f"{url}/metrics", timeout=60).read().decode()
    assert 'hothouse_requests_total{route="/v1/completions",status="200"}' in text
    assert "hothouse_replicas 1.0" in text


def test_a_client_that_hangs_up_ends_its_rows(url: str, client: openai.OpenAI) -> None:
    n, limit, before = 64, 500, _engine(url, "generated_tokens_total")
    never_ends = {str(byte_tokenizer().eos_token_id): -100}
    stream = client.completions.create(
        model="base", prompt="Once", n=n, max_tokens=limit, stream=True, logit_bias=never_ends
    )
    next(iter(stream))
    stream.close()
    while (generated := _engine(url, "generated_tokens_total") - before) == 0 or _engine(
        url, "rows_running"
    ):
        time.sleep(0.1)
    assert 0 < generated < n * limit


def _engine(url: str, name: str) -> float:
    text = urllib.request.urlopen(f"{url}/metrics", timeout=60).read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"hothouse_{name}"
    )


def test_every_name_of_the_base_is_the_base(client: openai.OpenAI, base_model: str) -> None:
    replies = [
        client.completions.create(model=name, prompt="Once", max_tokens=5, temperature=0)
        for name in ("base", base_model)
    ]
    assert replies[0].model == replies[1].model == "base"
    assert replies[0].choices[0].text == replies[1].choices[0].text


def test_many_clients_share_batches(url: str, adapters: dict[str, Adapter]) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            replies = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=("one", "two")[i % 2], messages=HELLO, max_tokens=4, seed=i
                    )
                    for i in range(40)
                )
            )
        digests = [reply.to_dict()["adapter_digest"] for reply in replies]
        assert digests == [adapters[("one", "two")[i % 2]].digest for i in range(40)]

    asyncio.run(main())


def test_an_unknown_model_is_a_404_that_lists_the_known(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"base, one@1, two@1") as caught:
        client.chat.completions.create(model="three", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="one@1"):
        client.models.retrieve("one@2")


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"tools": [{"type": "function"}]}, 'Field "tools" is not supported'),
        ({"top_logprobs": 3}, 'Field "top_logprobs": it needs logprobs=true'),
        ({"max_tokens": 100_000}, "context of 512 tokens"),
        ({"model": "\ud800"}, 'Field "model": the text holds half of a surrogate pair'),
        ({"temperature": -1}, "temperature"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": "Hello"}, "messages"),
        ({"model": None}, "model"),
    ],
)
def test_bad_requests_name_the_field(url: str, extra: dict[str, Any], named: str) -> None:
    body = json.dumps({"model": "base", "messages": HELLO, "max_tokens": 2} | extra)
    status, reply = _post(f"{url}/v1/chat/completions", body)
    assert status == 400
    assert reply["error"]["type"] == "invalid_request_error"
    assert named in reply["error"]["message"]


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"', "{}", '{"model": NaN}'])
def test_bodies_that_are_no_requests(url: str, body: str) -> None:
    status, reply = _post(f"{url}/v1/completions", body)
    assert status == 400
    assert reply["error"]["message"]


def test_a_path_that_is_not_there(url: str) -> None:
    status, reply = _post(f"{url}/v1/embeddings", "{}")
    assert (status, reply["error"]["message"]) == (404, "Not Found.")


def test_a_port_in_use_is_told_before_anything_starts(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{port}"):
        run(ServeConfig(port=port))


def _post(url: str, body: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
