"""When a step's numbers stop being those of a healthy run: which, its limit, its likely cause."""

import math
from collections.abc import Iterator

from actors.train.grpo.metrics import GrpoMetrics
from configs.grpo import AlarmConfig

_BROKEN = "the weights or the rewards are broken; look at the rewards, and lower learning_rate"
_OTHER_POLICY = (
    "what was sampled from is not what is trained: another version or temperature, an adapter that "
    "did not arrive, or a dtype that rounds too much"
)
_FEW_TOKENS = (
    "a few tokens outweigh all others, as sampler and trainer have drifted apart; lower "
    "max_staleness or learning_rate"
)


def alarms_of(metrics: GrpoMetrics, limits: AlarmConfig) -> list[str]:
    """A message for every number that is none or beyond its limits; nothing of a healthy step."""
    return [*_not_finite(metrics), *other_policy(metrics, limits), *_few_tokens(metrics, limits)]


def other_policy(metrics: GrpoMetrics, limits: AlarmConfig) -> Iterator[str]:
    """Messages that say that what was sampled from is not what is trained.

    Of what is not a number no comparison holds: that is told once, by another message.
    """
    ratio, kl = metrics.ratio, metrics.kl
    if math.isfinite(ratio) and not limits.min_ratio <= ratio <= limits.max_ratio:
        bounds = f"{limits.min_ratio:g} to {limits.max_ratio:g}"
        yield f"ratio is {ratio:.4g}, not within {bounds}: {_OTHER_POLICY}."
    if math.isfinite(kl) and abs(kl) > limits.max_kl:
        yield f"kl is {kl:.4g}, beyond {limits.max_kl:g} either way: {_OTHER_POLICY}."


def _not_finite(metrics: GrpoMetrics) -> Iterator[str]:
    for name, value in metrics.fields().items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value}: {_BROKEN}."


def _few_tokens(metrics: GrpoMetrics, limits: AlarmConfig) -> Iterator[str]:
    if metrics.ess < limits.min_ess:
        yield f"ess is {metrics.ess:.4g}, below {limits.min_ess:g}: {_FEW_TOKENS}."
