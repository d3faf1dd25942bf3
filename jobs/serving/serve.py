"""The `serve` job: the adapter server with an OpenAI-compatible endpoint, until interrupted."""

import json
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
from serve.address import base_url, check_free
from serve.calls import Description
from serve.launch import http_server

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
    with ray_session() as ray_ends:
        console.say(f"Starting the server for {config.base_model} and {len(adapters)} adapters.")
        place = (config.host, config.port)
        with http_server(
            config.base_model, adapters, config.server, *place, ray_ends=ray_ends
        ) as described:
            _introduce(described, base_url(*place))
            _until_interrupted()
            console.say("Stopping.")
    return 0


def _introduce(described: Description, url: str) -> None:
    rows = [(name, digest[:_SHOWN_DIGITS]) for name, digest in described.adapters.items()]
    console.table(["model", "digest"], rows, title=f"Models on {described.base_name}")
    newest = next(reversed(described.adapters), BASE)
    body = {"model": newest, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    console.say(f"Listening on {url}/v1 (ctrl-C stops). Try it:")
    console.say(f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\")
    console.say(f"  -d '{json.dumps(body)}'")


def _until_interrupted() -> None:
    """Wait for ctrl-C or SIGTERM; a second one does not break off the clean-up that follows."""
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: received.append(signum))
    while not received:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
