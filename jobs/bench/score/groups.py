"""All figures of the bench, in the order of the table."""

from jobs.bench.figures import Figure, Group, Reach, Trial
from jobs.bench.model import MIDDLE, SMALL
from jobs.bench.score.place import Answered, Place, opened
from jobs.bench.score.tasks import Asked, accuracies

_ADAPTERS = 8
_SOME = ("coordinate-itself", "self-awareness-general-ai")  # 622 questions


def _files(place: Place) -> Trial:
    asked, base = place.asked(), place.base(SMALL)
    peer, ours = place.peer(asked, base), place.ours(asked, base)
    values = {"files": peer.cpu_s / ours.cpu_s, "accuracy": _difference(asked, peer, ours)}
    accuracy = accuracies(asked, ours.answers[0])["all"]
    return Trial(values, f"{_said(asked, peer, ours)}, accuracy {accuracy:.9f}")


def _adapters(place: Place) -> Trial:
    asked, base = place.asked(*_SOME), place.base(SMALL)
    adapters = place.adapters(base, _ADAPTERS)
    peer, ours = place.peer(asked, base, adapters), place.ours(asked, base, adapters)
    values = {
        "adapters": peer.cpu_s / ours.cpu_s,
        "adapters_accuracy": _difference(asked, peer, ours),
    }
    return Trial(values, _said(asked, peer, ours))


def _middle(place: Place) -> Trial:
    asked, base = place.asked(_SOME[0]), place.base(MIDDLE)
    peer, ours = place.peer(asked, base), place.ours(asked, base)
    return Trial({"middle": peer.cpu_s / ours.cpu_s}, _said(asked, peer, ours))


def _difference(asked: Asked, peer: Answered, ours: Answered) -> float:
    """The largest difference between accuracies: of any adapter, any file and all questions."""
    differences = []
    for theirs, own in zip(peer.answers, ours.answers, strict=True):
        expected, got = accuracies(asked, theirs), accuracies(asked, own)
        differences += [abs(got[name] - value) for name, value in expected.items()]
    return max(differences)


def _said(asked: Asked, peer: Answered, ours: Answered) -> str:
    furthest = max(
        abs(a.logprob - b.logprob)
        for theirs, own in zip(peer.answers, ours.answers, strict=True)
        for a, b in zip(theirs, own, strict=True)
    )
    return (
        f"{asked.questions} questions, CPU s {peer.cpu_s:.1f} : {ours.cpu_s:.1f}, "
        f"log-likelihoods within {furthest:.1e}"
    )


GROUPS = (
    Group(
        (
            Figure("files", "lm-eval hf CPU s / ours: 16 files, one model", Reach(">=", 8)),
            Figure("accuracy", "largest difference of accuracies", Reach("<=", 1e-9), 10),
        ),
        _files,
    ),
    Group(
        (
            Figure("adapters", "the same: 622 questions, 8 adapters", Reach(">=", 8)),
            Figure("adapters_accuracy", "largest difference of accuracies", Reach("<=", 1e-9), 10),
        ),
        _adapters,
    ),
    Group(
        (Figure("middle", "the same: 322 questions, 29 M parameters", Reach(">=", 8)),),
        _middle,
    ),
)

__all__ = ["GROUPS", "opened"]
