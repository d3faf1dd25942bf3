"""Which provider a name opens."""

import asyncio

import pytest
from pool_endpoint import plain

from actors.pool.client import ChatPool
from actors.pool.provider import open_provider
from actors.pool.requests import Completion, Outcome
from configs.errors import UserError


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_without_a_key_the_embedded_endpoint_answers():
    async def run() -> list[Outcome]:
        async with ChatPool(provider) as pool:
            return [outcome async for outcome in pool.complete(plain(1))]

    with open_provider() as provider:
        [outcome] = asyncio.run(run())
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


def test_an_unknown_name_is_an_error():
    with pytest.raises(UserError, match='Did you mean "openrouter"'), open_provider("openroute"):
        pass
