"""All figures of the bench, in the order of the table."""

from statistics import median

from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.grpo.place import Place, opened
from jobs.bench.grpo.work import Measured


def _step(place: Place) -> Trial:
    """Both as they come: TRL on all cores, ours with a sampler on all and a trainer on the rest."""
    [trl] = place.measured("trl", place.work)
    [ours] = place.measured("ours", place.work)
    handover_s = median(ours.handovers_s)
    said = f"a step: ours {_said(place, ours)}; TRL {_said(place, trl)}"
    return Trial({"step": trl.wall_s / ours.wall_s, "handover_ms": handover_s * 1e3}, said)


def _staleness(place: Place) -> Trial:
    ahead = place.work.model_copy(update={"max_staleness": 1})
    in_turn, at_once = place.measured("ours", place.work, ahead, core_each=True)
    said = f"a step: in turn {_said(place, in_turn)}; one ahead {_said(place, at_once)}"
    return Trial({"staleness": in_turn.wall_s / at_once.wall_s}, said)


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
        ),
        _step,
    ),
    Group(
        (
            Figure(
                "staleness",
                "steps per s, max_staleness 1 / 0: a core each",
                Reach(">=", 1.3),
            ),
        ),
        _staleness,
    ),
)

__all__ = ["GROUPS", "opened"]
