"""The trainer's side of a hand-over: what the sampler has is what was trained, or the run stops.

An adapter that never arrives lets a run go on that looks healthy for hours. So the digest of what
arrived must be that of what was given, and where the sampler can be asked, its log-likelihoods of
a probe must be the trainer's own.
"""

import math
from collections.abc import Sequence

import numpy as np

from actors.lm.requests import Question
from actors.train.backend import Label, TrainingBackend
from actors.train.datum import Datum
from actors.train.grpo.shared_source import SharedSource
from configs.errors import JobFailed

_SHOWN_DIGITS = 12


def hand_over(
    backend: TrainingBackend, source: SharedSource, label: Label, max_gap: float
) -> float | None:
    """Publish the policy as it is now as version `label.version`.

    Returns the widest gap between the log-likelihoods of the probe, per token; None where the
    sampler has no probe. JobFailed where it is wider than `max_gap`, or the digests differ.
    """
    delivered = source.publish(label.version, lambda: backend.snapshot(label))
    published, probe = delivered.published, delivered.probe
    if published.digest != delivered.digest:
        raise JobFailed(
            f"Version {label.version} was published as {_short(delivered.digest)}, and "
            f"{published.model} answers as {_short(published.digest)}: rollouts would come from "
            "other weights than those that are trained. Look at the adapter server's log; the "
            "same command continues from the last checkpoint."
        )
    if probe is None:
        return None
    gap = probe_gap(probe, log_likelihoods(backend, probe), published.probe)
    if not gap <= max_gap:  # written so that it catches what is not a number
        raise JobFailed(
            f"Version {label.version} was published as {_short(delivered.digest)}, and "
            f"{published.model} gives a probe's tokens log-probabilities that are up to {gap:.4g} "
            f"from the trainer's (alarms.max_probe_gap={max_gap:g}): it does not answer with these "
            "weights, or computes in another precision (dtype, server.dtype, quantization). The "
            "same command continues from the last checkpoint."
        )
    return gap


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
