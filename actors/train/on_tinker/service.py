"""The SDK's clients of one process: made once, closed with the run.

Key and address come from TINKER_API_KEY and TINKER_BASE_URL, which the SDK reads by itself; neither
is written anywhere.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import httpx2
import tinker
from tinker.lib.base_url import resolve_base_url

from actors.train.on_tinker.faults import ServiceFailed, told
from actors.train.remote import TINKER, path_digest
from configs.errors import UserError, did_you_mean

KEY, URL = "TINKER_API_KEY", "TINKER_BASE_URL"
_REACH_S = 10.0  # the SDK itself would try for five minutes before it says a word
_CLOSE_S = 5.0


@dataclass(frozen=True)
class Service:
    """The clients that make others, and the one that asks about what is stored."""

    clients: tinker.ServiceClient
    rest: tinker.RestClient
    url: str

    def check_model(self, name: str) -> None:
        """UserError when the service has no such base model."""
        with told("get_server_capabilities"):
            answer = self.rest.get_server_capabilities().result()
        known = [model.model_name for model in answer.supported_models if model.model_name]
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f'base_model="{name}": no model of the service.{hint}')

    def digest(self, path: str) -> str:
        """What stands for the content of a tinker:// path, or of a model of the service."""
        is_saved = path.startswith(TINKER)
        return path_digest(self.url, path, self._saved_at(path) if is_saved else None)

    def _saved_at(self, path: str) -> datetime | None:
        """None where the service does not show it: it is not there, or somebody else's."""
        run = path.removeprefix(TINKER).partition("/")[0]
        with told(f"looking for {path}"):
            try:
                shown = self.rest.list_checkpoints(run).result().checkpoints
            except (tinker.NotFoundError, tinker.PermissionDeniedError):
                return None
        return next((one.time for one in shown if one.tinker_path == path), None)


@contextmanager
def open_service(answered_before: bool = False) -> Iterator[Service]:
    """The service that the environment names, for the length of a block.

    UserError when there is no key for it, or nobody answers; ServiceFailed instead where somebody
    answered before, so that the address is good.
    """
    if not tinker.auth.tinker_has_credentials():
        raise UserError(
            f"Tinker needs a key: put {KEY}=tml-... into the environment or .env (and {URL}=... "
            "for a cluster of your own)."
        )
    _check_reachable(os.environ.get(URL), answered_before)
    with told("opening a session"):
        # By name: a client that is not told its address shares that of the process's first one.
        where = {"base_url": os.environ.get(URL), "api_key": os.environ.get(KEY)}
        clients, rest = tinker.ServiceClient(**where), tinker.RestClient(**where)
    service = Service(clients, rest, resolve_base_url())
    ended = "errored"
    try:
        yield service
        ended = "success"
    finally:
        with suppress(Exception):  # whoever failed has said so; a session that stays open expires
            service.clients.close(ended).result(timeout=_CLOSE_S)


def _check_reachable(url: str | None, answered_before: bool) -> None:
    if not url:
        return
    try:
        httpx2.get(f"{url.rstrip('/')}/api/v1/healthz", timeout=_REACH_S)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        said = f"{URL}={url}: nobody answers there ({error})."
        if answered_before:
            raise ServiceFailed(said) from None
        raise UserError(
            f"{said} Start the cluster's front (python -m jobs serve tinker=true), or mend the "
            "address."
        ) from None
