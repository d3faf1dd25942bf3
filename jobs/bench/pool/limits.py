"""How well the pool uses an endpoint that takes 100 requests a second, and how jobs share it.

The pool is not told the limit. What can be answered in 15 s is 15 s of the limit and the one second
of burst that the endpoint starts with: 1,600 calls. Shares are of that.
"""

from actors.pool.endpoint.faults import FaultConfig
from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.pool.load import Work
from jobs.bench.pool.place import Place

_PER_S = 100
_BURST = 100
_SECONDS = 15
_ANSWERABLE = _PER_S * _SECONDS + _BURST
_FAULTS = FaultConfig(latency_s=0.2, requests_per_s=_PER_S)
_WORK = Work(seconds=_SECONDS, in_flight=256, workers=2, warm_calls=1)


def _one_job(place: Place) -> Trial:
    ours = place.ours(_WORK, _FAULTS)[0]
    counts = place.counts()
    limited = counts["by_status"].get("429", 0)
    values = {
        "limit_used": ours.answered / _ANSWERABLE,
        "limit_429": limited / counts["answered"],
    }
    said = f"{ours.answered} of {_ANSWERABLE} answered, {limited} x 429"
    return Trial(values, said)


def _two_jobs(place: Place) -> Trial:
    answered = [job.answered for job in place.ours(_WORK, _FAULTS, jobs=2)]
    total = sum(answered)
    values = {"two_jobs": total / _ANSWERABLE, "smaller_job": min(answered) / total}
    return Trial(values, f"{' + '.join(map(str, answered))} of {_ANSWERABLE} answered")


GROUPS = (
    Group(
        (
            Figure("limit_used", "share used of 100 requests/s in 15 s", Reach(">=", 0.90)),
            Figure("limit_429", "share of calls answered 429: the same", Reach("<=", 0.02), 3),
        ),
        _one_job,
    ),
    Group(
        (
            Figure("two_jobs", "share used by two jobs at once: the same", Reach(">=", 0.90)),
            Figure("smaller_job", "the smaller job's share of the two", Reach(">=", 0.40)),
        ),
        _two_jobs,
    ),
)
