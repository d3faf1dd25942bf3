"""The limiter as a named Ray actor: reports in, leases out, gauges on the metrics endpoint."""

import contextlib
import time
from typing import Any

import ray
from ray.util.metrics import Gauge

from actors.pool.limiter.limiter import Limiter
from actors.pool.limiter.messages import Lease, Report
from actors.pool.limiter.name import model_of

NAMESPACE = "hothouse"


class LimiterActor:
    """Ends with the process that made it; the next gate that misses it makes it again."""

    def __init__(self, name: str) -> None:
        self._limiter = Limiter(time.monotonic())
        self._gauges = _Gauges(model_of(name))

    async def report(self, report: Report) -> Lease:
        """Take in what a gate tells, and answer with its next lease."""
        now_s = time.monotonic()
        lease = self._limiter.report(report, now_s)
        self._gauges.show(self._limiter, now_s)
        return lease


class _Gauges:
    def __init__(self, model: str) -> None:
        def gauge(what: str, description: str) -> Gauge:
            made = Gauge(f"hothouse_pool_{what}", description, tag_keys=("model",))
            return made.set_default_tags({"model": model})

        self._limit = gauge("limit", "Calls that may be in flight on the whole cluster.")
        self._in_flight = gauge("in_flight", "Calls in flight on the whole cluster.")
        self._waiting = gauge("waiting", "Calls that wait for the limiter.")
        self._paused = gauge("paused", "1 while nobody may send because of a 429.")

    def show(self, limiter: Limiter, now_s: float) -> None:
        load = limiter.load(now_s)
        self._limit.set(load.limit)
        self._in_flight.set(load.in_flight)
        self._waiting.set(load.waiting)
        self._paused.set(load.paused_s > 0)


_Remote = ray.remote(num_cpus=0)(LimiterActor)


def limiter_actor(name: str) -> Any | None:
    """The handle of the limiter called `name`, made if there is none.

    None for the moment in which the name is still taken by one that is ending with its maker.
    """
    with contextlib.suppress(ValueError):
        return _Remote.options(
            name=name,
            namespace=NAMESPACE,
            get_if_exists=True,
            # Were it dead for good, its name would stay taken while its maker holds a handle on it.
            max_restarts=-1,
        ).remote(name)
    return None
