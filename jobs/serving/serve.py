"""The `serve` job: the adapter server with an OpenAI-compatible endpoint, until interrupted."""

import json
import threading

from actors.lm.adapter import read_adapter
from actors.lm.engine import BASE
from configs.serve import ServeConfig
from jobs import console
from jobs.cluster import ray_session
from serve.address import base_url, check_free
from serve.calls import Description
from serve.launch import http_server

_SHOWN_DIGITS = 16


def run(config: ServeConfig) -> int:
    """Serve until ctrl-C or SIGTERM."""
    adapters = {name: read_adapter(path) for name, path in config.adapters.items()}
    check_free(config.host, config.port)  # before the seconds that Ray takes
    with ray_session():
        console.say(f"Starting the server for {config.base_model} and {len(adapters)} adapters.")
        place = (config.host, config.port)
        with http_server(config.base_model, adapters, config.server, *place) as described:
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
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
