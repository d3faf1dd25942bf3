"""Losses against closed forms: their values, and their slopes in the log-probabilities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.train.datum import Datum
from actors.train.losses import LOSSES, LossName, TokenInputs

NUMBERS = st.floats(-3, 3)


def slope(loss: LossName, logprob: float, config: dict[str, float], **given: float):
    """Value and derivative of a loss of one token."""
    x = torch.tensor([logprob], dtype=torch.float64, requires_grad=True)
    inputs = {name: torch.tensor([value], dtype=torch.float64) for name, value in given.items()}
    value = LOSSES[loss](x, TokenInputs(**inputs), config)
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.item()


@given(NUMBERS, NUMBERS)
def test_cross_entropy_is_the_weighted_surprise(logprob: float, weight: float):
    assert slope("cross_entropy", logprob, {}, weights=weight) == pytest.approx(
        (-weight * logprob, -weight)
    )


@given(NUMBERS, NUMBERS, NUMBERS)
def test_importance_sampling_has_the_ratio_as_its_slope(p: float, q: float, advantage: float):
    ratio = math.exp(p - q)
    found = slope("importance_sampling", p, {}, sampled_logprobs=q, advantages=advantage)
    assert found == pytest.approx((-ratio * advantage, -ratio * advantage))


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([(0.8, 1.2), (0.5, 3.0)]))
def test_ppo_stops_learning_where_the_clip_would_be_better(
    p: float, q: float, advantage: float, bounds: tuple[float, float]
):
    low, high = bounds
    config = (
        {} if bounds == (0.8, 1.2) else {"clip_low_threshold": low, "clip_high_threshold": high}
    )
    ratio = math.exp(p - q)
    clipped = min(max(ratio, low), high)
    value, slope_found = slope("ppo", p, config, sampled_logprobs=q, advantages=advantage)
    assert value == pytest.approx(-min(ratio * advantage, clipped * advantage))
    beyond = ratio > high if advantage > 0 else ratio < low
    if advantage and min(abs(ratio - low), abs(ratio - high)) > 1e-9:
        assert slope_found == pytest.approx(0 if beyond else -ratio * advantage)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_cispo_learns_with_the_clipped_ratio_held_fixed(p: float, q: float, advantage: float):
    weight = min(math.exp(p - q), 4.0) * advantage
    found = slope("cispo", p, {}, sampled_logprobs=q, advantages=advantage)
    assert found == pytest.approx((-weight * p, -weight))


def test_where_both_agree_all_are_the_policy_gradient():
    for loss in ("importance_sampling", "ppo", "cispo"):
        assert slope(loss, -1.0, {}, sampled_logprobs=-1.0, advantages=0.7)[1] == pytest.approx(
            -0.7
        )


def test_a_loss_names_what_its_datums_lack():
    with pytest.raises(ValueError, match="datums with advantages"):
        slope("ppo", -1.0, {}, sampled_logprobs=-1.0)
    with pytest.raises(ValueError, match="datums with weights"):
        slope("cross_entropy", -1.0, {})


def test_each_loss_looks_at_its_own_shares():
    ids = np.arange(3)
    weights, advantages = np.array([[0, 1, 1], [2, 0, -1]], np.float32)
    datum = Datum(ids, ids, weights=weights, advantages=advantages)
    assert datum.taught("cross_entropy").tolist() == [False, True, True]
    assert datum.taught("ppo").tolist() == [True, False, True]
    assert datum.target_tokens == 2
    assert Datum(ids, ids).taught("cross_entropy").all()
