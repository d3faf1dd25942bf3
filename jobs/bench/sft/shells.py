"""What Ray Train adds to a step, and what Tinker's SDK and our front do."""

from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.sft.place import Place

_BATCH, _ROWS = 8, 80
_FRONT_TOKENS = 256


def _on_ray(place: Place) -> Trial:
    place.needs("cpu")
    work = place.work(_ROWS, _BATCH)
    plain = place.took("whole", work).wall_s
    on_ray = place.took("whole", work.model_copy(update={"on_ray": True})).wall_s
    said = f"an epoch of {work.steps} steps: {on_ray:.2f} s, plain {plain:.2f} s"
    return Trial({"ray": plain / on_ray}, said)


def _front(place: Place) -> Trial:
    place.needs("cpu")
    work = place.equal_rows(_BATCH, _FRONT_TOKENS)
    here = place.took("verbs", work).wall_s
    with place.front() as url:
        there = place.took("verbs", work.model_copy(update={"url": url})).wall_s
    values = {"front": there / here, "front_ms": (there - here) * 1e3}
    return Trial(values, f"a pass and a step: {there * 1e3:.0f} ms, in process {here * 1e3:.0f} ms")


GROUPS = (
    Group(
        (Figure("ray", "tokens per s under Ray Train, 1 worker / plain", Reach(">=", 0.97)),),
        _on_ray,
    ),
    Group(
        (
            Figure("front", "a pass and a step by Tinker's SDK / in process: 8 x 256 tokens"),
            Figure("front_ms", "ms that it takes longer", Reach("<", 30), digits=0),
        ),
        _front,
    ),
)
