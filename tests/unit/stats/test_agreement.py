"""Krippendorff's alpha against a published example and closed forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.stats.agreement import krippendorff_alpha

_ = None
# Krippendorff (2011), section C: four observers, twelve units, values missing.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
UNITS = [[v for v in unit if v is not None] for unit in zip(*OBSERVERS, strict=True)]


def test_the_published_example():
    assert krippendorff_alpha(UNITS) == pytest.approx(0.849, abs=0.0005)


def test_two_judges_by_hand():
    # Within units: 0, 1, 1 -> D_o = 2 * (0 + 1 + 1) / 6 = 2/3. All pairs of 1, 1, 2, 3, 4, 5:
    # mean 8/3, sum of squares 56 - 64 * 6 / 9 = 40/3 -> D_e = 2 * 6 * 40/3 / 30 = 16/3.
    assert krippendorff_alpha([[1, 1], [2, 3], [4, 5]]) == pytest.approx(1 - (2 / 3) / (16 / 3))


def test_agreement_in_all_is_one_and_opposition_is_below_zero():
    assert krippendorff_alpha([[1, 1], [5, 5], [9, 9]]) == 1
    assert krippendorff_alpha([[0, 100], [100, 0]]) == pytest.approx(1 - 10_000 / (20_000 / 3))


@pytest.mark.parametrize("units", [[], [[1.0], [2.0]], [[3.0, 3.0], [3.0, 3.0]]])
def test_where_nothing_can_be_told(units):
    assert krippendorff_alpha(units) is None


ratings = st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=3), min_size=2, max_size=8)


@given(ratings, st.integers(1, 5), st.integers(-50, 50))
def test_alpha_is_at_most_one_and_minds_neither_unit_nor_origin(units, scale, shift):
    alpha = krippendorff_alpha(units)
    moved = krippendorff_alpha([[scale * v + shift for v in unit] for unit in units])
    assert (alpha is None) == (moved is None)
    if alpha is not None:
        assert alpha <= 1
        assert moved == pytest.approx(alpha, abs=1e-6)
