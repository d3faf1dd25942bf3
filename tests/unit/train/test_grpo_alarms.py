"""Alarms name the number, its limit and the likely cause; healthy steps raise none."""

import math
import re
from typing import Any

import pytest

from actors.train.grpo.alarms import alarms_of
from actors.train.grpo.metrics import GrpoMetrics
from configs.grpo import AlarmConfig

LIMITS = AlarmConfig()


def step(**fields: Any) -> GrpoMetrics:
    """A healthy one; fields can be given."""
    healthy: dict[str, Any] = {
        "step": 3, "version": 4, "reward": 0.5, "reward_std": 0.4, "correct": 0.5, "groups": 8,
        "no_signal": 1, "replaced": 0, "lost": 0, "tokens": 900, "length": 14.0, "max_length": 16,
        "cut": 0.1, "entropy": 1.2, "loss": -0.01, "clipped": 0.0, "grad_norm": 0.3,
        "learning_rate": 1e-3, "kl_base": None, "kl": 1e-5, "ratio": 1.001, "abs_ratio": 1.01,
        "ess": 0.99, "staleness": 0.0, "max_staleness": 0, "rollout_s": 1.0, "wait_s": 1.0,
        "train_s": 1.0, "handover_s": 0.1, "tokens_per_s": 400.0, "memory_mb": 500.0,
    }  # fmt: skip
    return GrpoMetrics(**(healthy | fields))


def test_a_healthy_step_raises_none():
    assert alarms_of(step(), LIMITS) == []
    at_limits = {"ratio": 2.0, "ess": 0.3, "kl": -0.1}
    assert alarms_of(step(**at_limits), LIMITS) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ratio", 2.01, "ratio is 2.01, not within 0.5 to 2: what was sampled from is not"),
        ("ratio", 0.4, "ratio is 0.4, not within 0.5 to 2: .*temperature"),
        ("ess", 0.21, "ess is 0.21, below 0.3: .*max_staleness"),
        ("kl", 0.2, "kl is 0.2, beyond 0.1 either way: .*did not arrive"),
        ("kl", -0.2, "kl is -0.2, beyond 0.1"),
        ("loss", math.nan, "loss is nan: the weights or the rewards are broken"),
        ("grad_norm", math.inf, "grad_norm is inf"),
        ("ratio", math.nan, "ratio is nan"),
        ("ratio", math.inf, "ratio is inf"),
        ("ess", math.nan, "ess is nan"),
        ("kl", math.inf, "kl is inf"),
        ("kl_base", math.nan, "kl_base is nan"),
        ("eval_reward", math.nan, "eval_reward is nan"),
        ("details", {"coherence": math.nan}, "reward/coherence is nan"),
    ],
)
def test_one_number_is_told_once(name: str, value: Any, told: str):
    (alarm,) = alarms_of(step(**{name: value}), LIMITS)
    assert re.match(told, alarm)


def test_limits_are_those_given():
    limits = AlarmConfig(min_ratio=0.99, max_ratio=1.0005, min_ess=0.995, max_kl=1e-6)
    assert len(alarms_of(step(), limits)) == 3
