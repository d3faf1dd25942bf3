"""The `serve` job: the adapter server with an OpenAI-compatible endpoint, until interrupted."""

import gc
import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from actors.lm.adapter import read_adapter
from actors.lm.base import load_tokenizer
from actors.lm.requests import BASE
from actors.store.inputs import find_input
from actors.store.storage import Storage
from configs.errors import JobFailed
from configs.serve import ServeConfig
from jobs import console
from jobs.cluster import ray_session
from serve.address import base_url, check_free, is_loopback
from serve.calls import Description
from serve.door import DRAIN_S
from serve.launch import check_tinker, http_server
from serve.openai.keys import keys_from
from serve.shelf import Holdings

_SHOWN_DIGITS = 16
_SECONDS_BETWEEN_LOOKS = 3.0  # each is a message to the shelf


def run(config: ServeConfig) -> int:
    """Serve until ctrl-C or SIGTERM."""
    storage = Storage(config.storage)
    adapters = {
        name: read_adapter(find_input(path, storage)) for name, path in config.adapters.items()
    }
    load_tokenizer(config.base_model)  # builds `tiny`, and refuses a wrong name, before Ray starts
    check_free(config.host, config.port)  # before the seconds that Ray takes
    if config.tinker:
        check_tinker()
    keys = keys_from(os.environ, on_loopback=is_loopback(config.host))
    at_once = threading.Event()
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
            tinker=config.tinker,
            at_once=at_once,
        ) as (described, has_shelf, trains_on):
            url = base_url(config.host, config.port)
            _introduce(described, url, has_keys=keys.are_set)
            if trains_on is not None:
                console.say(f"Tinker's SDK trains here, on {trains_on}:")
                console.say(f'tinker.ServiceClient(base_url="{url}", api_key="tml-...")')
            gc.freeze()  # imports are no garbage: to look through them costs 0.4 s each time
            _until_interrupted(has_shelf, at_once)
            console.say(f"Stopping; open requests have {DRAIN_S} s, or until ctrl-C again.")
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


def _until_interrupted(has_shelf: Callable[[], bool], at_once: threading.Event) -> None:
    """Wait for ctrl-C or SIGTERM; a second one ends what open requests have, not the clean-up.

    JobFailed when the server lost its shelf.
    """
    received = threading.Event()

    def receive(number: int, frame: Any) -> None:
        (at_once if received.is_set() else received).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, receive)
    while not received.wait(_SECONDS_BETWEEN_LOOKS):
        if not has_shelf():
            at_once.set()  # nothing that is open can be answered
            raise JobFailed(
                "the process that holds the adapters (the shelf) died, and no request can be "
                "answered without it. The same command starts the server again; what was loaded "
                "meanwhile has to be loaded again."
            )
