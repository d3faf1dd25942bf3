"""What the books save: repeats are sent once, and a long stream of stored answers stays small."""

from actors.pool.endpoint.faults import FaultConfig
from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.pool.load import FEW, Work, num_distinct
from jobs.bench.pool.place import Place

_CALLS = 10_000
_STREAMED = 200_000


def _repeats(place: Place) -> Trial:
    work = Work(calls=_CALLS, questions="repeats", in_flight=256, workers=2, warm_calls=1)
    ours = place.ours(work, FaultConfig(latency_s=0.05))[0]
    if ours.answered != _CALLS:
        raise RuntimeError(f"{ours.answered} of {_CALLS} calls were answered")
    sent, unique = place.counts()["asked"], num_distinct(_CALLS)
    return Trial({"sent_once": sent / unique}, f"{sent} sent for {unique} unique requests")


def _memory(place: Place) -> Trial:
    work = Work(calls=_STREAMED, questions="few", in_flight=256, warm_calls=FEW)
    ours = place.ours(work, FaultConfig())[0]
    if ours.answered != _STREAMED:
        raise RuntimeError(f"{ours.answered} of {_STREAMED} calls were answered")
    said = f"{ours.grown_mb:.1f} MB while {_STREAMED} answers took {ours.wall_s:.0f} s"
    return Trial({"memory_mb": ours.grown_mb}, said)


GROUPS = (
    Group(
        (
            Figure(
                "sent_once",
                "calls sent / unique requests: 10,000, 30 % repeat",
                Reach("=", 1.0),
                digits=4,
            ),
        ),
        _repeats,
    ),
    Group(
        (
            Figure(
                "memory_mb",
                "driver's growth in MB: 200,000 stored answers",
                Reach("<", 200),
                digits=1,
            ),
        ),
        _memory,
    ),
)
