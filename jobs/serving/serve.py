"""The `serve` job: the adapter server with an OpenAI-compatible endpoint, until interrupted."""

import json
import os
import signal
import time

from actors.lm.adapter import read_adapter
from actors.lm.base import load_tokenizer
from actors.lm.requests import BASE
from actors.store.inputs import find_input
from actors.store.storage import Storage
from configs.serve import ServeConfig
from jobs import console
from jobs.cluster import ray_session
from serve.address import base_url, check_free, is_loopback
from serve.calls import Description
from serve.launch import http_server
from serve.openai.keys import keys_from
from serve.shelf import Holdings

_SHOWN_DIGITS = 16
_SECONDS_BETWEEN_LOOKS = 0.2


def run(config: ServeConfig) -> int:
    """Serve until ctrl-C or SIGTERM."""
    storage = Storage(config.storage)
    adapters = {
        name: read_adapter(find_input(path, storage)) for name, path in config.adapters.items()
    }
    load_tokenizer(config.base_model)  # builds `tiny`, and refuses a wrong name, before Ray starts
    check_free(config.host, config.port)  # before the seconds that Ray takes
    keys = keys_from(os.environ, on_loopback=is_loopback(config.host))
    with ray_session():
        console.say(f"Starting the server for {config.base_model} and {len(adapters)} adapters.")
        with http_server(
            config.base_model,
            adapters,
            config.server,
            host=config.host,
            port=config.port,
            keys=keys,
            max_body_bytes=config.max_body_mb * 2**20,
            holdings=Holdings(config.storage, config.max_adapter_mb * 2**20),
        ) as described:
            _introduce(described, base_url(config.host, config.port), has_keys=keys.are_set)
            _until_interrupted()
            console.say("Stopping.")
    return 0


def _introduce(described: Description, url: str, *, has_keys: bool) -> None:
    rows = [(name, digest[:_SHOWN_DIGITS]) for name, digest in described.adapters.items()]
    console.table(["model", "digest"], rows, title=f"Models on {described.base_name}")
    newest = next(reversed(described.adapters), BASE)
    body = {"model": newest, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    console.say(f"Listening on {url}/v1 (ctrl-C stops). Try it:")
    console.say(f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\")
    if has_keys:
        console.say("  -H 'Authorization: Bearer ONE-OF-THE-KEYS' \\")
    console.say(f"  -d '{json.dumps(body)}'")


def _until_interrupted() -> None:
    """Wait for ctrl-C or SIGTERM; a second one does not break off the clean-up that follows."""
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: received.append(signum))
    while not received:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
