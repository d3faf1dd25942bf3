"""Which provider a name opens."""

import asyncio
import base64

import pytest
from pool_endpoint import QUICK, Endpoint, complete, config, plain

from actors.pool.client import ChatPool
from actors.pool.desk import Setup
from actors.pool.provider import open_provider
from actors.pool.requests import Completion
from configs.errors import UserError


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_without_a_key_the_embedded_endpoint_answers(endpoint: Endpoint):
    with open_provider() as provider:
        [outcome] = complete(Setup(provider, config(), endpoint.books(), {}, QUICK), plain(1))
    assert isinstance(outcome, Completion)
    assert provider.name == "offline"
    assert provider.note == (
        "offline (no OPENROUTER_API_KEY): "
        "answers and verdicts come from the embedded endpoint's rules"
    )


def test_a_key_makes_openrouter_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-test")
    with open_provider() as provider:
        assert (provider.name, provider.api_key) == ("openrouter", "sk-test")
        assert provider.schema_options == {"provider": {"require_parameters": True}}
    assert "sk-test" not in repr(provider)


def test_openrouter_without_a_key_names_the_variable():
    with (
        pytest.raises(UserError, match=r"OPENROUTER_API_KEY.*provider=offline"),
        open_provider("openrouter"),
    ):
        pass


def test_a_url_takes_openais_key(monkeypatch: pytest.MonkeyPatch):
    with open_provider("http://localhost:8000/v1/") as provider:
        assert (provider.base_url, provider.api_key) == ("http://localhost:8000/v1", "none")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with open_provider("http://localhost:8000/v1") as provider:
        assert provider.api_key == "sk-mine"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://models.example/v1", "sk-mine"),
        ("http://127.0.0.1:8000/v1", "sk-mine"),
        ("http://[::1]:8000/v1", "sk-mine"),
        ("http://models.example/v1", "none"),
        ("http://localhost.example/v1", "none"),
    ],
)
def test_the_key_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch, url: str, key: str):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with open_provider(url) as provider:
        assert provider.api_key == key
        assert ("OPENAI_API_KEY is not sent" in provider.note) == (key == "none")


def test_credentials_in_a_url_are_sent_and_shown_nowhere(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with open_provider(f"http://u:p%40ss@{place}") as provider:
            async with server, ChatPool(provider, config(), endpoint.books()) as pool:
                _ = [outcome async for outcome in pool.complete(plain(1, model="m"))]
        assert {provider.name, provider.note, provider.base_url} == {f"http://{place}"}
        return repr(provider)

    assert "p@ss" not in asyncio.run(run())
    said = f"authorization: basic {base64.b64encode(b'u:p@ss').decode()}".lower()
    assert [head.split()[0] for head in heads] == ["GET", "POST"]  # its prices, and the call
    assert all(said in head.lower() and "sk-mine" not in head for head in heads)


def test_an_unknown_name_is_an_error():
    with pytest.raises(UserError, match='Did you mean "openrouter"'), open_provider("openroute"):
        pass
