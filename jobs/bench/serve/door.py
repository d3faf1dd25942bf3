"""What Ray Serve and HTTP cost on top of the engine, and what loading and unloading leaves."""

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from actors.lm.adapter import TENSORS
from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.serve.place import Place
from jobs.bench.serve.work import Row, Work

if TYPE_CHECKING:
    from jobs.bench.serve.endpoint import Endpoint

_CALLERS, _ROWS, _ADAPTERS = 32, 128, 16
_FIRST_TOKENS, _LOADS = 20, 10
_FEW_LOADS, _MANY_LOADS, _TURNS = 10, 500, 4


def _endpoint(place: Place) -> Trial:
    engine = place.side("ours", _ADAPTERS)
    with place.endpoint(_ADAPTERS) as endpoint:
        endpoint.sampled(place.rows(_CALLERS, _ADAPTERS), _CALLERS)  # warm, all connections made
        engine.measured(Work(rows=place.rows(_CALLERS, _ADAPTERS), callers=_CALLERS))
        rows = place.rows(_ROWS, _ADAPTERS)
        through = endpoint.sampled(rows, _CALLERS)
        alone = engine.measured(Work(rows=rows, callers=_CALLERS))
        first, forward = _first_token(place, endpoint)
        loading = _loading(place, endpoint)
    if through.tokens != alone.tokens:
        raise RuntimeError(f"{through.tokens} of {alone.tokens} tokens came through the endpoint")
    said = (
        f"CPU s {through.cpu_s:.1f}, engine alone {alone.cpu_s:.1f}; first token "
        f"{first * 1e3:.1f} ms, forward {forward * 1e3:.1f} ms"
    )
    values = {
        "endpoint": alone.cpu_s / through.cpu_s,
        "first_token": first / forward,
        "load_endpoint": loading * 1e3,
    }
    return Trial(values, said)


def _first_token(place: Place, endpoint: "Endpoint") -> tuple[float, float]:
    """Medians in seconds: the first streamed token, and one forward of the same prompts."""
    rows = place.rows(_FIRST_TOKENS, 0)
    first = [endpoint.first_token_s(row) for row in rows]
    side = place.side("forward", 0)
    forward = [side.measured(Work(rows=[row])).wall_s for row in rows]
    return median(first), median(forward)


def _loading(place: Place, endpoint: "Endpoint") -> float:
    """Median seconds until a new adapter has answered through the endpoint."""
    row, took = _one_token(place), []
    for number, path in enumerate(_new_adapters(place)):
        started_s = time.perf_counter()
        endpoint.load(f"new{number}", path)
        endpoint.answer(f"new{number}", row)
        took.append(time.perf_counter() - started_s)
        endpoint.unload(f"new{number}")
    return median(took)


def _engine_loading(place: Place) -> Trial:
    engine, row, beyond = place.side("ours", _ADAPTERS), _one_token(place), []
    engine.measured(Work(rows=[row], load=place.adapters[_ADAPTERS]))  # warm
    for path in _new_adapters(place):
        started_s = time.perf_counter()
        Path(path, TENSORS).read_bytes()
        read_s = time.perf_counter() - started_s
        beyond.append(engine.measured(Work(rows=[row], load=path)).wall_s - read_s)
    ms = [round(seconds * 1e3, 1) for seconds in beyond]
    return Trial({"load": median(ms)}, f"ms {ms}")


def _one_token(place: Place) -> Row:
    [row] = place.rows(1, 0)
    return row.model_copy(update={"new_tokens": 1})


def _new_adapters(place: Place) -> list[str]:
    return place.adapters[_ADAPTERS : _ADAPTERS + _LOADS]


def _memory(place: Place) -> Trial:
    with place.endpoint(0) as endpoint:
        _load_and_unload(place, endpoint, _FEW_LOADS)
        few_mb = endpoint.memory_mb()
        _load_and_unload(place, endpoint, _MANY_LOADS - _FEW_LOADS)
        many_mb = endpoint.memory_mb()
    return Trial({"memory": many_mb / few_mb}, f"{few_mb:.0f} MB, then {many_mb:.0f} MB")


def _load_and_unload(place: Place, endpoint: "Endpoint", times: int) -> None:
    for number in range(times):
        endpoint.load("turn", place.adapters[number % _TURNS])
        endpoint.unload("turn")


GROUPS = (
    Group(
        (
            Figure(
                "load",
                "ms to load an adapter and answer with it, beyond reading its bytes: engine",
                Reach("<", 50),
                digits=0,
            ),
        ),
        _engine_loading,
    ),
    Group(
        (
            Figure(
                "endpoint",
                "tokens per CPU s through the endpoint / engine alone: 32 callers",
                Reach(">=", 0.85),
            ),
            Figure(
                "first_token",
                "time to the first streamed token / one forward of the prompt",
                Reach("<", 5),
            ),
            Figure("load_endpoint", "ms to load an adapter and answer with it: endpoint", digits=0),
        ),
        _endpoint,
    ),
    Group(
        (
            Figure(
                "memory",
                "memory after 500 loads and unloads / after 10",
                Reach("<=", 1.05),
                digits=3,
            ),
        ),
        _memory,
    ),
)
