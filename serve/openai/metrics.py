"""Prometheus metrics: requests as the door sees them, and how busy each replica's engine is.

Engine numbers are asked for when somebody scrapes; nothing is counted twice.
"""

import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.lm.engine import EngineStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SCRAPED = "/metrics"
_GAUGES = {
    "running": ("hothouse_rows_running", "Rows in the batch"),
    "waiting": ("hothouse_rows_waiting", "Rows that have no place in the batch yet"),
    "cache_tokens_used": ("hothouse_cache_tokens_used", "Tokens whose keys and values are held"),
    "cache_tokens": ("hothouse_cache_tokens", "Tokens whose keys and values can be held"),
}
_COUNTERS = {
    "prompt_tokens": ("hothouse_prompt_tokens", "Prompt tokens computed"),
    "cached_prompt_tokens": ("hothouse_cached_prompt_tokens", "Prompt tokens found in the cache"),
    "generated_tokens": ("hothouse_generated_tokens", "Tokens sampled"),
}


# A replica's id, how busy its engine is, and the adapters that it holds in slots.
ReplicaStats = tuple[str, EngineStats, list[str]]


class Metrics:
    """What the door counts."""

    def __init__(self, routes: Iterable[str]) -> None:
        self._routes = frozenset(routes)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hothouse_requests",
            "Requests answered",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "hothouse_request_seconds",
            "Seconds until the end of an answer, a stream's end included",
            ("route",),
            registry=self._registry,
            buckets=_BUCKETS_S,
        )
        self._open = Gauge(
            "hothouse_requests_open", "Requests being answered", registry=self._registry
        )

    def layer(self, app: ASGIApp) -> ASGIApp:
        """The app with its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            status, started = "500", time.perf_counter()

            async def watch(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            is_scrape = scope["path"] == _SCRAPED  # it would always find itself
            self._open.inc(not is_scrape)
            try:
                await app(scope, receive, watch)
            finally:
                # Other paths share a name: a client that makes up paths makes no series.
                route = scope["path"] if scope["path"] in self._routes else "other"
                self._open.dec(not is_scrape)
                self._requests.labels(route, status).inc()
                self._seconds.labels(route).observe(time.perf_counter() - started)

        return counted

    def text(self, replicas: Sequence[ReplicaStats]) -> bytes:
        """The exposition format."""
        return generate_latest(_Scrape([*self._registry.collect(), *_families(replicas)]))


class _Scrape(Collector):
    """Families that are there already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        return iter(self._families)


def _families(replicas: Sequence[ReplicaStats]) -> Iterator[Metric]:
    alive = GaugeMetricFamily("hothouse_replicas", "Replicas that answer")
    alive.add_metric((), len(replicas))
    yield alive
    resident = GaugeMetricFamily(
        "hothouse_adapters_resident", "Adapters in slots", labels=("replica",)
    )
    for replica, _, names in replicas:
        resident.add_metric((replica,), len(names))
    yield resident
    for kind, named in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
        for field, (name, text) in named.items():
            family = kind(name, text, labels=("replica",))
            for replica, engine, _ in replicas:
                family.add_metric((replica,), getattr(engine, field))
            yield family
