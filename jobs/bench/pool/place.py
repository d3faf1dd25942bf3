"""Where the bench of the pool runs: an endpoint, a local Ray, a folder, and clients on them."""

import json
import os
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from actors.pool.endpoint.faults import FaultConfig
from actors.pool.endpoint.process import endpoint_process
from configs.bench import BenchConfig
from configs.errors import UserError
from jobs.bench.pool.clients import Client, measured
from jobs.bench.pool.load import Load, Measured, Work
from jobs.cluster import ray_session


class Place:
    """What every figure of the bench is measured on."""

    def __init__(self, url: str, folder: str, endpoint_pids: Sequence[int], ray: str) -> None:
        self._url, self._folder, self._endpoint_pids = url, folder, tuple(endpoint_pids)
        self._environment = {**os.environ, "RAY_ADDRESS": ray}

    def ours(self, work: Work, faults: FaultConfig, jobs: int = 1) -> list[Measured]:
        """What the pool takes for some work; several jobs at once share its cluster."""
        return self._measured("ours", work, faults, jobs)

    def peer(self, work: Work, faults: FaultConfig) -> Measured:
        """What the peer takes for some work."""
        return self._measured("peer", work, faults, 1)[0]

    def counts(self) -> dict[str, Any]:
        """The endpoint's own counts since the clients began."""
        with urllib.request.urlopen(f"{self._admin}/counts") as reply:
            return json.load(reply)

    def _measured(
        self, client: Client, work: Work, faults: FaultConfig, jobs: int
    ) -> list[Measured]:
        # The peer's own process is all of its client side; ours includes all that Ray runs here.
        load = Load(
            work=work,
            url=self._url,
            tag="",
            storage=tempfile.mkdtemp(dir=self._folder),
            root=None if client == "peer" else os.getpid(),
            without=self._endpoint_pids,
        )
        tags = (uuid.uuid4().hex[:8] for _ in range(jobs))
        loads = [load.model_copy(update={"tag": tag}) for tag in tags]
        self._post("reset")
        return measured(client, loads, self._environment, lambda: self._begin(faults))

    def _begin(self, faults: FaultConfig) -> None:
        self._post("reset")
        self._post("faults", faults.model_dump_json())

    def _post(self, verb: str, body: str = "") -> None:
        request = urllib.request.Request(f"{self._admin}/{verb}", body.encode(), method="POST")
        urllib.request.urlopen(request).close()

    @property
    def _admin(self) -> str:
        return f"{self._url.removesuffix('/v1')}/admin"


@contextmanager
def opened(_: BenchConfig) -> Iterator[Place]:
    """A place of this machine's own; it is gone when the bench ends."""
    if os.environ.get("RAY_ADDRESS"):
        raise UserError("The bench measures one machine: unset RAY_ADDRESS.")
    import ray

    os.environ["OMP_NUM_THREADS"] = "1"  # the same for every process that is measured
    with tempfile.TemporaryDirectory(prefix="hothouse-bench-") as folder, endpoint_process() as url:
        endpoint_pids = [child.pid for child in psutil.Process().children()]
        with ray_session():
            yield Place(url, folder, endpoint_pids, ray.get_runtime_context().gcs_address)
