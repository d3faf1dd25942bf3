"""What the engine samples for its CPU time, against peers that are given the same rows."""

from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.serve.place import Place
from jobs.bench.serve.work import Measured, Work

_ROWS = 64


def _against_peft(place: Place, adapters: int) -> tuple[float, str]:
    work = Work(rows=place.rows(_ROWS, adapters))
    ours = place.side("ours", adapters).measured(work)
    peer = place.side("peft", adapters).measured(work)
    said = f"{_rate(ours):.0f} tokens per CPU s, peft {_rate(peer):.0f}; {_same(ours, peer)}"
    return _rate(ours) / _rate(peer), said


def _sixteen(place: Place) -> Trial:
    ratio, said = _against_peft(place, 16)
    return Trial({"peft_16": ratio}, said)


def _sixty_four(place: Place) -> Trial:
    ratio, said = _against_peft(place, 64)
    return Trial({"peft_64": ratio}, said)


def _base_only(place: Place) -> Trial:
    """With 16 adapters loaded, all three."""
    side = place.side("ours", 16)
    mixed = side.measured(Work(rows=place.rows(_ROWS, 16)))
    work = Work(rows=place.rows(_ROWS, 0))
    base = side.measured(work)
    peer = place.side("continuous", 0).measured(work)
    said = (
        f"{_rate(mixed):.0f} tokens per CPU s, base only {_rate(base):.0f}, "
        f"transformers {_rate(peer):.0f}; {_same(base, peer)}"
    )
    values = {
        "mixed_over_base": _rate(mixed) / _rate(base),
        "continuous": _rate(base) / _rate(peer),
    }
    return Trial(values, said)


def _rate(measured: Measured) -> float:
    return measured.tokens / measured.cpu_s


def _same(ours: Measured, peer: Measured) -> str:
    same = sum(a == b for a, b in zip(ours.sampled, peer.sampled, strict=True))
    return f"{same} of {len(ours.sampled)} rows are the same"


GROUPS = (
    Group(
        (
            Figure(
                "peft_16",
                "tokens per CPU s / peft's mixed batch: 64 rows, 16 adapters",
                Reach(">=", 2.5),
            ),
        ),
        _sixteen,
    ),
    Group(
        (Figure("peft_64", "the same: 64 rows, 64 adapters", Reach(">=", 3.5)),),
        _sixty_four,
    ),
    Group(
        (
            Figure(
                "mixed_over_base",
                "tokens per CPU s, 16 adapters mixed / base only",
                Reach(">=", 0.75),
            ),
            Figure(
                "continuous",
                "tokens per CPU s / transformers' continuous batching: base only",
                Reach(">=", 1.2),
            ),
        ),
        _base_only,
    ),
)
