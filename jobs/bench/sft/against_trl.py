"""What our loop trains for its CPU time and memory, against TRL's trainer on the same batches."""

from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.sft.place import Place
from jobs.bench.sft.work import Arrangement, Measured, Work

_BATCH = 8  # the default of both
_ROWS = 5 * _BATCH
_FEW_ROWS = 3 * _BATCH  # the most is there after the longest batch


def _as_it_comes(place: Place) -> Trial:
    """TRL computes activations twice by default; ours is asked not to, and to."""
    place.needs("cpu")
    work = place.work(_ROWS, _BATCH)
    twice = work.model_copy(update={"gradient_checkpointing": True})
    ours, ours_twice = place.measured("ours", work), place.measured("ours", twice)
    trl, trl_twice = place.measured("trl", work), place.measured("trl", twice)
    values = {
        "trl": trl_twice.cpu_s / ours.cpu_s,
        "trl_checkpointed": trl_twice.cpu_s / ours_twice.cpu_s,
        "trl_no_checkpointing": trl.cpu_s / ours.cpu_s,
        "losses": max(_difference(ours, trl), _difference(ours_twice, trl_twice)),
    }
    said = (
        f"tokens per CPU s: ours {_rate(work, ours)}, checkpointed {_rate(work, ours_twice)}; "
        f"TRL {_rate(work, trl)}, checkpointed {_rate(work, trl_twice)}"
    )
    return Trial(values, said)


def _without_padding(place: Place) -> Trial:
    place.needs("cpu")
    work = place.work(_ROWS, _BATCH)
    ours = place.measured("ours", work)
    laid = place.measured("trl", _arranged(work, "padding_free"))
    packed = place.measured("trl", _arranged(work, "packed"))
    said = (
        f"tokens per CPU s: ours {_rate(work, ours)}; TRL padding-free {_rate(work, laid)} (losses "
        f"within {_difference(ours, laid):.1e}), packed {_rate(work, packed)}"
    )
    return Trial({"packed": min(laid.cpu_s, packed.cpu_s) / ours.cpu_s}, said)


def _memory(place: Place) -> Trial:
    place.needs("cpu")
    work = place.work(_FEW_ROWS, _BATCH)
    twice = work.model_copy(update={"gradient_checkpointing": True})
    ours, ours_twice = (place.measured_first("ours", one).peak_mb for one in (work, twice))
    trl, trl_twice = (place.measured_first("trl", one).peak_mb for one in (work, twice))
    values = {
        "memory": ours / trl_twice,
        "memory_checkpointed": ours_twice / trl_twice,
        "memory_no_checkpointing": ours / trl,
    }
    said = (
        f"MB: ours {ours:.0f}, checkpointed {ours_twice:.0f}; "
        f"TRL {trl:.0f}, checkpointed {trl_twice:.0f}"
    )
    return Trial(values, said)


def _arranged(work: Work, arrangement: Arrangement) -> Work:
    return work.model_copy(update={"arrangement": arrangement})


def _rate(work: Work, measured: Measured) -> str:
    return f"{work.tokens / measured.cpu_s:.0f}"


def _difference(ours: Measured, peer: Measured) -> float:
    """The largest difference between the losses of a step."""
    return max(abs(a - b) for a, b in zip(ours.losses, peer.losses, strict=True))


GROUPS = (
    Group(
        (
            Figure("trl", "tokens per CPU s / TRL's SFTTrainer as it comes", Reach(">=", 1.5)),
            Figure("trl_checkpointed", "the same, gradient checkpointing on both sides"),
            Figure("trl_no_checkpointing", "the same, gradient checkpointing on neither"),
            Figure("losses", "largest difference of a step's loss", Reach("<=", 1e-3), 6),
        ),
        _as_it_comes,
    ),
    Group(
        (
            Figure(
                "packed",
                "the same, TRL packed or padding-free (the faster), no checkpointing",
                Reach(">=", 1.0),
            ),
        ),
        _without_padding,
    ),
    Group(
        (
            Figure("memory", "peak memory above the model / TRL's: as both come", Reach("<=", 0.8)),
            Figure("memory_checkpointed", "the same, gradient checkpointing on both sides"),
            Figure("memory_no_checkpointing", "the same, gradient checkpointing on neither"),
        ),
        _memory,
    ),
)
