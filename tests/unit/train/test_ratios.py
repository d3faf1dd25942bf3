"""Ratios between two policies: what they tell, what is clipped, what weighs how much."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.train.grpo.gspo import gspo, log_sequence_ratio
from actors.train.grpo.off_policy import truncated_weights
from actors.train.grpo.ratios import Agreement, agreement, clipped
from actors.train.grpo.reductions import token_factors
from actors.train.losses import LOSSES, Ratios, TokenInputs
from configs.grpo import PolicyLossName, ReductionName

GAPS = st.lists(st.floats(-3, 3), min_size=1, max_size=9)
BOUNDS = {"clip_low_threshold": 0.8, "clip_high_threshold": 1.3}


def numbers(values: list[float], learned: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=learned)


@given(GAPS)
def test_agreement_in_closed_form(gaps: list[float]):
    sampler = torch.linspace(-4, -1, len(gaps), dtype=torch.float64)
    ratios = np.exp(gaps)
    found = agreement(sampler + numbers(gaps), sampler)
    assert found.ratio == pytest.approx(ratios.mean())
    assert found.abs_ratio == pytest.approx(np.maximum(ratios, 1 / ratios).mean())
    assert found.ess == pytest.approx(ratios.sum() ** 2 / (ratios**2).sum() / len(gaps))
    assert found.kl == pytest.approx((ratios - 1 - gaps).mean(), abs=1e-12)


def test_the_same_policy_agrees_and_so_does_one_that_said_nothing():
    told = numbers([-1, -2, -0.5])
    assert agreement(told, told) == agreement(numbers([]), numbers([])) == Agreement()


def test_a_ratio_beyond_all_numbers_still_has_a_sample_size():
    assert agreement(numbers([900.0, -1, -1, -1]), numbers([-1, -1, -1, -1])).ess == 0.25
    assert math.isnan(agreement(numbers([math.nan, -1]), numbers([-1, -1])).ess)


@given(
    st.floats(0.1, 3).filter(lambda ratio: min(abs(ratio - bound) for bound in (0.8, 1.3)) > 1e-6),
    st.floats(-2, 2).filter(lambda advantage: advantage == 0 or abs(advantage) > 1e-3),
    st.sampled_from(get_args(PolicyLossName)),
)
def test_clipped_are_the_tokens_that_learn_otherwise_than_without_a_clip(
    ratio: float, advantage: float, loss: PolicyLossName
):
    logprob, old = numbers([math.log(ratio)], learned=True), numbers([0.0])
    given = TokenInputs(sampled_logprobs=old, advantages=numbers([advantage]))
    if loss == "gspo":
        total = gspo(logprob, old, numbers([advantage]), BOUNDS)
    else:
        total = LOSSES[loss](logprob, given, BOUNDS)
    (slope,) = torch.autograd.grad(total, logprob)
    is_held = slope.item() != pytest.approx(-ratio * advantage, abs=1e-12)
    bounds = Ratios(BOUNDS["clip_low_threshold"], BOUNDS["clip_high_threshold"])
    found = clipped(loss, numbers([ratio]), numbers([advantage]), bounds)
    assert found.tolist() == [is_held]


def test_clipping_is_asymmetric_by_the_advantages_sign():
    """An advantage stops pushing its own way alone: back towards the old policy it always may."""
    ratios, up = numbers([0.5, 1.0, 2.0]), numbers([1.0] * 3)
    assert clipped("ppo", ratios, up, Ratios(0.8, 1.3)).tolist() == [False, False, True]
    assert clipped("ppo", ratios, -up, Ratios(0.8, 1.3)).tolist() == [True, False, False]
    for sign, slopes in ((1, [-0.5, -1, 0]), (-1, [0, 1, 2])):
        logprobs = ratios.log().requires_grad_()
        given = TokenInputs(sampled_logprobs=torch.zeros(3), advantages=sign * up)
        LOSSES["ppo"](logprobs, given, BOUNDS).backward()
        assert logprobs.grad is not None
        assert logprobs.grad.tolist() == pytest.approx(slopes)


@given(GAPS, st.floats(-2, 2))
def test_gspo_is_its_sequences_ratio(gaps: list[float], advantage: float):
    """Value and gradient of equation 5, with the sequence's share spread over its tokens."""
    old, size = numbers([-2.0] * len(gaps)), len(gaps)
    new = (old + numbers(gaps)).requires_grad_()
    ratio = log_sequence_ratio(new, old).exp()
    assert ratio.item() == pytest.approx(math.exp(sum(gaps) / size))
    expected = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.3) * advantage)
    found = gspo(new, old, numbers([advantage / size] * size), BOUNDS)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(value, new)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_a_sequence_of_nothing_has_the_ratio_one():
    nothing = numbers([], learned=True)
    loss = gspo(nothing, numbers([]), numbers([]), BOUNDS)
    loss.backward()
    assert loss.item() == log_sequence_ratio(nothing, numbers([])).item() == 0


@given(GAPS, st.floats(0.5, 4))
def test_truncated_weights_are_capped_and_detached(gaps: list[float], cap: float):
    trainer = numbers(gaps, learned=True)
    weights = truncated_weights(trainer, torch.zeros(len(gaps)), cap)
    assert not weights.requires_grad
    assert weights.tolist() == pytest.approx([min(math.exp(gap), cap) for gap in gaps])


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=8)


@given(LENGTHS, st.sampled_from(get_args(ReductionName)))
def test_reductions_in_closed_form(lengths: list[int], name: ReductionName):
    """Of losses that are all 1: a mean is 1, and Dr. GRPO's is the mean share of max_tokens."""
    factors = token_factors(lengths, name, 12)
    answers = [length for length in lengths if length]
    if not answers:
        assert not factors.any()
        return
    total = float(factors @ lengths)
    assert total == pytest.approx(sum(answers) / len(answers) / 12 if name == "dr_grpo" else 1)
    if name == "sequence":
        assert factors * lengths == pytest.approx([bool(n) / len(answers) for n in lengths])
    else:
        assert len({f for f, length in zip(factors, lengths, strict=True) if length}) == 1
