"""Who answers: the embedded endpoint, OpenRouter, any OpenAI-compatible base URL, or a replay."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from actors.pool.books.replay import REPLAY, find_replay, is_replay
from actors.pool.endpoint.process import endpoint_process
from configs.base import digest
from configs.errors import UserError, did_you_mean

OPENROUTER_KEY = "OPENROUTER_API_KEY"
_OPENROUTER_URL = "https://openrouter.ai/api/v1"
_OPENROUTER_MODEL = "openai/gpt-4.1-mini"
_OPENAI_KEY = "OPENAI_API_KEY"
_NOWHERE = "http://replay.invalid/v1"  # nothing is sent; no such host can exist (RFC 2606)
_RULES = "answers and verdicts come from the embedded endpoint's rules"


@dataclass(frozen=True)
class Provider:
    """An endpoint, its key, and what its requests carry beyond OpenAI's fields."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    default_model: str | None  # None: every request has to name one
    note: str  # one line for people and for output files: who answered
    key_variable: str | None = None  # where the key comes from
    schema_options: Mapping[str, Any] = field(default_factory=dict)  # sent along with a schema
    credentials: tuple[str, str] | None = field(default=None, repr=False)  # HTTP Basic, not the key
    replay_only: bool = False  # stored answers stand in for it: nothing is sent

    @property
    def account(self) -> str:
        """Names the account that is billed and limited, without telling its key."""
        return digest([self.api_key, self.credentials])[:12]


@contextmanager
def open_provider(name: str | None = None, storage: str = ".") -> Iterator[Provider]:
    """The provider called `name`: "offline", "openrouter", a base URL (http...), or "replay".

    None is OpenRouter where its key is in the environment, else offline. Offline starts the
    embedded endpoint and ends it on exit. A replay (`actors.pool.books.replay` has its forms)
    answers from the books of the storage root `storage`, under the name of who answered first.
    """
    key = os.environ.get(OPENROUTER_KEY)
    if name is None:
        name = "openrouter" if key else "offline"
        reason = f" (no {OPENROUTER_KEY})"
    else:
        reason = ""
    if name == "offline":
        with endpoint_process() as url:
            yield Provider("offline", url, "none", "rules", f"offline{reason}: {_RULES}")
    elif name == "openrouter":
        yield _openrouter(key)
    elif name.startswith(("http://", "https://")):
        yield _endpoint(name)
    elif is_replay(name):
        yield _replay(name, storage)
    else:
        raise UserError(
            f'provider="{name}" is neither a known name nor a base URL (http...).'
            + did_you_mean(name, ["offline", "openrouter", REPLAY])
        )


def _replay(name: str, storage: str) -> Provider:
    # Name, model and options are the original's: the same calls and runs have the same keys.
    (original, model, options), source = find_replay(name, storage)
    note = f"{original}, replayed from {source}: nothing is sent"
    return Provider(
        original, _NOWHERE, "none", model, note, schema_options=options, replay_only=True
    )


def _openrouter(key: str | None) -> Provider:
    if not key:
        raise UserError(
            f"provider=openrouter needs {OPENROUTER_KEY} in the environment or in .env. "
            "Without a key use provider=offline."
        )
    return Provider(
        "openrouter",
        _OPENROUTER_URL,
        key,
        _OPENROUTER_MODEL,
        "openrouter",
        OPENROUTER_KEY,
        # Without it an endpoint may ignore the schema in silence.
        {"provider": {"require_parameters": True}},
    )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _endpoint(given: str) -> Provider:
    try:
        parts = urlsplit(given.rstrip("/"))
    except ValueError as error:
        raise UserError(f"The URL given as provider= cannot be read: {error}.") from None
    # Name, URL and note go to output files and messages: what is secret stays out of them.
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username is not None:
        credentials = unquote(parts.username), unquote(parts.password or "")
        return Provider(url, url, "none", None, url, credentials=credentials)
    key = os.environ.get(_OPENAI_KEY)
    if key and parts.scheme != "https" and not is_loopback(url):
        note = f"{url} ({_OPENAI_KEY} is not sent over plain http to another machine)"
        return Provider(url, url, "none", None, note)
    return Provider(url, url, key or "none", None, url, _OPENAI_KEY)
