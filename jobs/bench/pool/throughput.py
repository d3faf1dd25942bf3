"""How fast calls go: near the ideal where latency bounds them, and against the peer where CPU does.

Ideal is every place in flight always taken: calls / in flight x latency.
"""

from actors.pool.endpoint.faults import FaultConfig
from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.pool.load import Measured, Work
from jobs.bench.pool.place import Place

IN_FLIGHT = 256
_SLOW_CALLS, _FAST_CALLS = 2_000, 5_000
_SLOW = Work(calls=_SLOW_CALLS, in_flight=IN_FLIGHT, warm_calls=IN_FLIGHT)
_SLOW_LATENCY_S = 1.0
_FAST = Work(calls=_FAST_CALLS, in_flight=IN_FLIGHT, warm_calls=IN_FLIGHT)
# So long that a second worker, which starts when the first is busy, is there.
_ONE = _FAST.model_copy(update={"warm_calls": _FAST_CALLS})
_TWO = _ONE.model_copy(update={"workers": 2})
_FAST_LATENCY_S = 0.2


def _near_ideal(place: Place) -> Trial:
    ours = _whole(place.ours(_SLOW, FaultConfig(latency_s=_SLOW_LATENCY_S))[0], _SLOW_CALLS)
    ideal_s = _SLOW_CALLS / IN_FLIGHT * _SLOW_LATENCY_S
    return Trial({"ideal_wall": ideal_s / ours.wall_s}, f"{ideal_s:.2f} s / {ours.wall_s:.2f} s")


def _against_peer(place: Place) -> Trial:
    faults = FaultConfig(latency_s=_FAST_LATENCY_S)
    ours = _whole(place.ours(_FAST, faults)[0], _FAST_CALLS)
    peer = _whole(place.peer(_FAST, faults), _FAST_CALLS)
    values = {"cpu": peer.cpu_s / ours.cpu_s, "wall": peer.wall_s / ours.wall_s}
    return Trial(values, f"{_rates(ours)}; the peer {_rates(peer)}")


def _two_workers(place: Place) -> Trial:
    faults = FaultConfig(latency_s=_FAST_LATENCY_S)
    one = _whole(place.ours(_ONE, faults)[0], _FAST_CALLS)
    two = _whole(place.ours(_TWO, faults)[0], _FAST_CALLS)
    return Trial({"two_workers": one.wall_s / two.wall_s}, f"{_rates(one)}; two {_rates(two)}")


def _whole(measured: Measured, calls: int) -> Measured:
    """What did all its calls; a rate of calls that failed would be no rate."""
    if measured.answered != calls:
        raise RuntimeError(f"{measured.answered} of {calls} calls were answered")
    return measured


def _rates(measured: Measured) -> str:
    per_cpu_s = measured.answered / measured.cpu_s
    return f"{per_cpu_s:.0f} calls/CPU s, {measured.answered / measured.wall_s:.0f} calls/s"


GROUPS = (
    Group(
        (
            Figure(
                "ideal_wall",
                "ideal wall / wall: 2,000 calls of 1 s, 256 in flight",
                Reach(">=", 0.92),
            ),
        ),
        _near_ideal,
    ),
    Group(
        (
            Figure(
                "cpu",
                "calls per CPU s / the peer's: 5,000 of 200 ms, 256 in flight",
                Reach(">=", 2.0),
            ),
            Figure("wall", "calls per s / the peer's: the same", Reach(">=", 2.0)),
        ),
        _against_peer,
    ),
    Group((Figure("two_workers", "calls per s, 2 workers / 1: the same"),), _two_workers),
)
