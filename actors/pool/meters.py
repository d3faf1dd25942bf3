"""What a worker tells Ray's metrics (Prometheus) of its calls."""

from functools import cache

from ray.util.metrics import Counter, Histogram

from actors.pool.requests import Completion, Outcome

_LATENCY_BOUNDS_S = [0.1, 0.3, 1, 3, 10, 30, 100]


@cache
def _calls() -> Counter:
    return Counter("hothouse_pool_calls_total", "Calls that ended.", ("model", "outcome"))


@cache
def _tokens() -> Counter:
    return Counter("hothouse_pool_tokens_total", "Tokens of answers.", ("model", "kind"))


@cache
def _latency() -> Histogram:
    return Histogram(
        "hothouse_pool_latency_seconds",
        "From the first attempt to the answer, waits included.",
        _LATENCY_BOUNDS_S,
        ("model",),
    )


def call_ended(model: str, outcome: Outcome) -> None:
    """Count a call that was not answered from what is stored."""
    if not isinstance(outcome, Completion):
        _calls().inc(1, {"model": model, "outcome": outcome.kind})
        return
    kind = "refused" if outcome.refusal else "answered"
    _calls().inc(1, {"model": model, "outcome": kind})
    _latency().observe(outcome.latency_s, {"model": model})
    for of, count in (("prompt", outcome.prompt_tokens), ("completion", outcome.completion_tokens)):
        if count:
            _tokens().inc(count, {"model": model, "kind": of})
