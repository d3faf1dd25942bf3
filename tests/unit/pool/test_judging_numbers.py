"""The weighted score against computations by hand, and what passes for a number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.judging.numbers import (
    mean_vote,
    number_mass,
    parse_number,
    weighted_score,
    whole_numbers,
)
from actors.pool.requests import TokenLogprob


def chances(**tokens: float) -> list[TokenLogprob]:
    """Alternatives with these probabilities; `_` in a name stands for a space."""
    names = [name.removeprefix("n").replace("_", " ") for name in tokens]
    logprobs = [math.log(p) for p in tokens.values()]
    return [TokenLogprob(*pair) for pair in zip(names, logprobs, strict=True)]


def test_a_mean_weighted_by_probability():
    # (90 * 0.5 + 80 * 0.3 + 10 * 0.1) / 0.9 = 70 / 0.9
    alternatives = chances(n90=0.5, n80=0.3, n10=0.1, Sorry=0.1)
    assert weighted_score(alternatives) == pytest.approx(70 / 0.9)
    assert number_mass(alternatives) == pytest.approx(0.9)


def test_tokens_with_spaces_are_the_same_number_twice():
    # (20 * (0.2 + 0.3) + 60 * 0.5) / 1
    assert weighted_score(chances(n20=0.2, _20=0.3, n60_=0.5)) == pytest.approx(40)


def test_what_is_out_of_range_or_no_number_does_not_count():
    alternatives = chances(n50=0.3, n101=0.2, n1000=0.1, n050=0.1, A=0.1, REFUSAL=0.1)
    assert weighted_score(alternatives) == pytest.approx(50)
    assert number_mass(alternatives) == pytest.approx(0.3)
    odd = [TokenLogprob(token, math.log(0.1)) for token in ("-5", "+5", "5.5", "5_0", "٥", "", "½")]
    assert number_mass(odd) == 0


@pytest.mark.parametrize(("mass", "score"), [(0.2499, None), (0.2501, 40.0), (0.9, 40.0)])
def test_a_mass_under_a_quarter_is_no_score(mass: float, score: float | None):
    found = weighted_score(chances(n40=mass, CODE=1 - mass))
    assert found == (score if score is None else pytest.approx(score))


def test_no_alternatives_are_no_score():
    assert weighted_score([]) is None
    assert weighted_score([TokenLogprob("50", -9999.0)]) is None


@given(st.dictionaries(st.integers(0, 100), st.floats(0.001, 1), min_size=1))
def test_the_score_lies_between_its_numbers_and_does_not_depend_on_the_scale(weights):
    total = sum(weights.values())
    alternatives = [TokenLogprob(str(n), math.log(p / total)) for n, p in weights.items()]
    score = weighted_score(alternatives)
    assert score is not None
    assert min(weights) - 1e-9 <= score <= max(weights) + 1e-9
    expected = sum(n * p for n, p in weights.items()) / total
    assert score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "alternatives", "told"),
    [
        ("85", chances(n85=0.6, n90=0.4), True),
        (" 85.", chances(n85=0.6, n90=0.4), True),
        ("0", chances(n0=0.9, n10=0.1), True),
        # A tokenizer that writes digit by digit: the first token says 8.
        ("85", chances(n8=0.9, n7=0.1), False),
        ("8", chances(n8=0.9, n7=0.1), False),
        ("100", chances(n1=0.9, n9=0.1), False),
        # The number stands behind other words.
        ("Score: 85", chances(Score=0.9, n85=0.1), False),
        # No number at all: what its mass says is the mass's to say.
        ("REFUSAL", chances(REF=0.6, n10=0.4), True),
    ],
)
def test_whether_the_first_token_tells_whole_numbers(text, alternatives, told):
    assert whole_numbers(text, alternatives) == told


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("7", 7), ("100", 100), (" 85\n", 85), ("85.", 85), ("85/100", 85), ("85 %", 85),
        ("Score: 85", 85), ("**85**", 85), ("**Score:** 85", 85), ("rating 3", 3),
        ("", None), ("101", None), ("-5", None), ("085", None), ("8.5", None), ("85 or 90", None),
        ("REFUSAL", None), ("I give it a good 85, I think", None), ("٨٥", None), ("1e1", None),
        ("85/10", None),
    ],
)  # fmt: skip
def test_what_passes_for_a_number(text: str, number: int | None):
    assert parse_number(text) == number


def test_the_mean_of_votes_needs_more_than_half_of_them():
    assert mean_vote([80, 90, None]) == 85
    assert mean_vote([80, None]) is None
    assert mean_vote([None, None]) is None
    assert mean_vote([]) is None
    assert mean_vote([1, 2, 3, 4, 100]) == 22
