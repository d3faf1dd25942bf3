"""The single checks of `doctor`: each says what it found and the command that mends it."""

import logging
import os
import shutil
import socket
import sys
import tempfile
from importlib import metadata

from actors.lm.tiny import tiny_is_built, tiny_name
from actors.pool.provider import OPENROUTER_KEY, open_provider
from actors.store.storage import Storage
from configs.errors import UserError
from jobs.doctor.credit import credit
from jobs.doctor.finding import Finding

_PACKAGES = ("ray", "torch", "transformers", "peft", "openai", "pydantic", "fastapi")
_GIB = 2**30
_MIN_FREE_GIB = 5
SERVE_PORT = 8000


def python() -> Finding:
    """The interpreter's version."""
    return Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))


def packages() -> Finding:
    """The pinned packages."""
    found, absent = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        return Finding("packages", "missing", f"no {', '.join(absent)}", "make setup")
    return Finding("packages", "ok", ", ".join(found))


def accelerator() -> Finding:
    """Whether torch sees a GPU."""
    import torch

    if torch.cuda.is_available():
        return Finding("accelerator", "ok", torch.cuda.get_device_name(0))
    return Finding("accelerator", "note", "none: the torch engine runs on the CPU")


def vllm_engine() -> Finding:
    """Whether the GPU engine is installed."""
    try:
        return Finding("vllm", "ok", metadata.version("vllm"))
    except metadata.PackageNotFoundError:
        mend = "on a GPU machine: .venv/bin/pip install -c constraints.txt -e '.[vllm]'"
        return Finding("vllm", "note", "not installed; the torch engine serves", mend)


def provider_key() -> Finding:
    """Whether generation and judging reach a real model."""
    if os.environ.get(OPENROUTER_KEY):
        return Finding("provider", "ok", f"{OPENROUTER_KEY} is set")
    mend = f"for real models: cp .env.example .env, and fill in {OPENROUTER_KEY}"
    return Finding("provider", "note", f"no {OPENROUTER_KEY}: the embedded endpoint answers", mend)


def key_credit() -> Finding:
    """What is left on the provider's key."""
    if not os.environ.get(OPENROUTER_KEY):
        return Finding("credit", "ok", "the embedded endpoint costs nothing")
    with open_provider("openrouter") as provider:
        return credit(provider.base_url, provider.api_key)


def tiny_model() -> Finding:
    """Whether the embedded model is built."""
    if tiny_is_built():
        return Finding("tiny", "ok", f"{tiny_name()} is built")
    return Finding("tiny", "note", f"{tiny_name()} is built on first use, about a minute")


def storage(root: str) -> Finding:
    """Whether the storage root can be written."""
    name = f"runs/.doctor-{os.getpid()}"
    try:
        place = Storage(root)
        place.write_new(name, b"")
        place.fs.rm(f"{place.root}/{name}")
    except (OSError, UserError) as error:
        return Finding("storage", "missing", f"{root}: {error}", "give storage=A_WRITABLE_PLACE")
    return Finding("storage", "ok", f"{place.path('')} can be written")


def disk() -> Finding:
    """Room for Ray's object store and logs."""
    folder = tempfile.gettempdir()
    free_gib = shutil.disk_usage(folder).free / _GIB
    found = f"{free_gib:.0f} GiB free under {folder}"
    if free_gib < _MIN_FREE_GIB:
        return Finding("disk", "missing", found, f"free {_MIN_FREE_GIB} GiB; Ray spills there")
    return Finding("disk", "ok", found)


def port() -> Finding:
    """Whether `serve` can have its default port."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", SERVE_PORT)):
            return Finding("port", "ok", f"{SERVE_PORT} is free for `serve`")
    mend = "python -m jobs serve port=8001"
    return Finding("port", "note", f"{SERVE_PORT} is taken on loopback", mend)


def cluster() -> Finding:
    """The cluster that jobs would run on."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding("cluster", "ok", "no RAY_ADDRESS: jobs start a local Ray of their own")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        mend = "ray start --head --port=6379 on its head, or unset RAY_ADDRESS"
        return Finding("cluster", "missing", f"{address}: {error}", mend)
    resources = ray.cluster_resources()
    ray.shutdown()
    kinds = ", ".join(f"{resources[k]:.0f} {k}" for k in ("CPU", "GPU") if k in resources)
    return Finding("cluster", "ok", f"{address}: {kinds}")
