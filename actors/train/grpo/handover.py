"""The trainer's side of a hand-over: what the sampler has is what was trained, or the run stops.

An adapter that never arrives lets a run go on that looks healthy for hours. So the digest of what
arrived must be that of what was given, and where the sampler can be asked, its log-likelihoods of
a probe must be the trainer's own, and move when they do.
"""

import math
from collections.abc import Sequence

import numpy as np

from actors.lm.requests import Question
from actors.train.backend import Label, TrainingBackend
from actors.train.datum import Datum
from actors.train.grpo.shared_source import SharedSource
from configs.errors import JobFailed
from configs.grpo import GrpoConfig

_SHOWN_DIGITS = 12
_LEAST_SHARE = 0.1  # in float32, whose last bits depend on what else is computed
_MOST_STILL = 3  # versions


class HandOver:
    """The hand-overs of one process, in their order."""

    def __init__(self, source: SharedSource, config: GrpoConfig) -> None:
        """None was made yet."""
        self._source, self._max_gap = source, config.max_probe_gap
        self._movement = Movement(_LEAST_SHARE if config.is_float32 else 0.0)
        self.is_proved = False  # that what was published answers: by a probe

    def __call__(self, backend: TrainingBackend, label: Label) -> float | None:
        """Publish the policy as it is now as version `label.version`.

        Returns the widest gap between the log-likelihoods of the probe, per token; None where the
        sampler has no probe. JobFailed where the digests differ, the gap is too wide, or the
        sampler's answers stand still while the trainer's move.
        """
        delivered = self._source.publish(label.version, lambda: backend.snapshot(label))
        published, probe = delivered.published, delivered.probe
        said = f"Version {label.version} was published as {_short(delivered.digest)}, and "
        if published.digest != delivered.digest:
            raise JobFailed(
                f"{said}{published.model} answers as {_short(published.digest)}: rollouts would "
                "come from other weights than those that are trained. Look at the adapter server's "
                "log; the same command continues from the last checkpoint."
            )
        if probe is None:
            return None
        ours, theirs = log_likelihoods(backend, probe), published.probe
        gap = probe_gap(probe, ours, theirs)
        if not gap <= self._max_gap:  # written so that it catches what is not a number
            raise JobFailed(
                f"{said}{published.model} gives a probe's tokens log-probabilities that are up to "
                f"{gap:.4g} from the trainer's (alarms.max_probe_gap={self._max_gap:g}): it does "
                "not answer with these weights, or computes in another precision (dtype, "
                "server.dtype). The same command continues from the last checkpoint."
            )
        if not self._movement.follows(ours, theirs):
            raise JobFailed(
                f"{said}{published.model} says of a probe what it said {_MOST_STILL} versions ago, "
                "while the trainer's word has changed: new adapters do not arrive. Look at the "
                "adapter server's log; the same command continues from the last checkpoint."
            )
        self.is_proved = True
        return gap


class Movement:
    """Whether the sampler's log-likelihoods of the probe move when the trainer's do.

    A small learning rate moves them by less than any limit on their gap, and for many steps by
    less than coarse numbers round. But rounding only adds to a movement: a sampler all of whose
    answers stay where they were, version after version, holds the weights that it held.
    """

    def __init__(self, least_share: float) -> None:
        """To stand still is to move by no more than this share of the trainer's widest movement.

        0 is to the last bit: for where the trainer may round more than the sampler moves.
        """
        self._least_share = least_share
        self._since: tuple[np.ndarray, np.ndarray] | None = None  # of the last version that moved
        self._still = 0  # versions since

    def follows(self, ours: Sequence[float], theirs: Sequence[float]) -> bool:
        """False when the sampler has stood still for too long, this version included."""
        now = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if self._since is None:
            self._since = now
            return True
        moved, followed = (
            np.abs(new - old).max() for new, old in zip(now, self._since, strict=True)
        )
        if moved == 0:  # nothing to follow
            return True
        if followed > self._least_share * moved:
            self._since, self._still = now, 0
        else:
            self._still += 1
        return self._still < _MOST_STILL


def log_likelihoods(backend: TrainingBackend, probe: Question) -> list[float]:
    """The trainer's own, a sum over each continuation's tokens, at temperature 1."""
    datums = [_datum(probe.context_ids, continuation) for continuation in probe.continuations]
    passed = backend.forward(datums, "cross_entropy").result()
    return [
        float(np.asarray(logprobs, np.float64) @ np.asarray(datum.weights))
        for logprobs, datum in zip(passed.logprobs, datums, strict=True)
    ]


def probe_gap(probe: Question, ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The widest difference, over the number of the continuation's tokens."""
    if len(ours) != len(theirs):
        return math.inf
    gaps = [
        abs(a - b) / len(tokens)
        for a, b, tokens in zip(ours, theirs, probe.continuations, strict=True)
    ]
    return math.nan if any(map(math.isnan, gaps)) else max(gaps)


def _datum(context_ids: Sequence[int], continuation: Sequence[int]) -> Datum:
    ids = np.array([*context_ids, *continuation], np.int64)
    weights = np.zeros(len(ids) - 1, np.float32)
    weights[len(context_ids) - 1 :] = 1
    return Datum(ids[:-1], ids[1:], weights)


def _short(digest: str) -> str:
    return digest[:_SHOWN_DIGITS]
