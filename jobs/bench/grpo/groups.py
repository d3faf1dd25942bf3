"""All figures of the bench, in the order of the table."""

from statistics import median

from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.grpo.place import Place, opened
from jobs.bench.grpo.work import Measured


def _one_thread(place: Place) -> Trial:
    """One computes at a time, but where ours samples ahead: then the sampler and the trainer do."""
    ahead = place.work.model_copy(update={"max_staleness": 1})
    [trl] = place.measured("trl", place.work, one_thread=True)
    in_turn, at_once = place.measured("ours", place.work, ahead, one_thread=True)
    values = {
        "step": trl.wall_s / in_turn.wall_s,
        "handover_ms": median(in_turn.handovers_s) * 1e3,
        "staleness": in_turn.wall_s / at_once.wall_s,
    }
    said = (
        f"a step: ours {_said(place, in_turn)}; one ahead {_said(place, at_once)}; "
        f"TRL {_said(place, trl)}"
    )
    return Trial(values, said)


def _all_cores(place: Place) -> Trial:
    [trl] = place.measured("trl", place.work, one_thread=False)
    [ours] = place.measured("ours", place.work, one_thread=False)
    said = f"a step: ours {_said(place, ours)}; TRL {_said(place, trl)}"
    return Trial({"step_all_cores": trl.wall_s / ours.wall_s}, said)


def _said(place: Place, measured: Measured) -> str:
    return (
        f"{measured.wall_s / place.work.steps:.1f} s, {measured.sampling_s:.1f} of them sampling, "
        f"reward {measured.reward:.3f} +- {measured.spread:.3f}"
    )


GROUPS = (
    Group(
        (
            Figure("step", "wall of TRL's step / ours: 16 x 8 answers of 48", Reach(">=", 1.5)),
            Figure(
                "handover_ms",
                "ms from a step's end to the new version's first token",
                Reach("<=", 250),
                digits=0,
            ),
            Figure(
                "staleness",
                "steps per s, max_staleness 1 / 0: a core for each of the two",
                Reach(">=", 1.3),
            ),
        ),
        _one_thread,
    ),
    Group(
        (Figure("step_all_cores", "wall of TRL's step / ours, each on all cores"),),
        _all_cores,
    ),
)

__all__ = ["GROUPS", "opened"]
