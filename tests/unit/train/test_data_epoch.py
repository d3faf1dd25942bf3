"""What an epoch holds of several files, and what is held out of it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.train.data.datums import Taught
from actors.train.data.mixing import drawn, rows_used
from actors.train.data.row import Completion, Row
from actors.train.data.sides import divided, unseen
from actors.train.datum import Datum

_DATUM = Datum(np.zeros(1, np.int64), np.zeros(1, np.int64))
FILES = st.lists(st.tuples(st.integers(1, 5000), st.floats(0.01, 100)), min_size=1, max_size=5)


def taught(texts: str) -> list[Taught]:
    return [(Row(f"d:{i}", Completion("", text)), _DATUM) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("available", "weights", "used"),
    [
        ([6000, 20000], [1, 1], [6000, 6000]),
        ([6000, 20000], [0.1, 0.9], [2222, 20000]),
        ([100, 100], [1, 3], [33, 100]),
        ([1000, 5], [1, 1000], [1, 5]),
        ([7], [0.3], [7]),
    ],
)
def test_the_scarcest_file_sets_the_size_of_an_epoch(
    available: list[int], weights: list[float], used: list[int]
):
    assert rows_used(available, weights) == used


@given(FILES)
def test_files_are_used_in_proportion_and_one_of_them_whole(files: list[tuple[int, float]]):
    available, weights = [n for n, _ in files], [w for _, w in files]
    used = rows_used(available, weights)
    unit = min(n / w for n, w in files)
    assert any(u == n for u, n in zip(used, available, strict=True))
    for count, rows, weight in zip(used, available, weights, strict=True):
        assert 1 <= count <= rows
        assert count == 1 or abs(count - unit * weight) <= 0.5 + 1e-6


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 5), st.integers(0, 3))
def test_rows_are_drawn_once_each_and_again_for_the_same_seed(
    available: int, used: int, seed: int, file: int
):
    places = drawn(available, min(used, available), seed, file)
    assert places == sorted(set(places))
    assert len(places) == min(used, available)
    assert places == drawn(available, len(places), seed, file)


def test_another_seed_draws_other_rows():
    assert drawn(100, 50, 0, 0) != drawn(100, 50, 1, 0)


@given(
    st.text("abcdefgh", min_size=1, max_size=40),
    st.floats(0, 0.99),
    st.integers(0, 5),
)
def test_equal_rows_are_never_on_both_sides(texts: str, share: float, seed: int):
    rows = taught(texts)
    train, validation = divided(rows, share, seed)
    assert sorted([*train, *validation], key=rows.index) == rows
    assert train
    sides = [{row.said for row, _ in side} for side in (train, validation)]
    assert not sides[0] & sides[1]
    most = max(1, round(share * len(rows))) if share else 0
    assert len(validation) <= most
    if Counter(texts).most_common(1)[0][1] == 1 and share and len(rows) > 1:
        assert len(validation) == min(most, len(rows) - 1)
    assert divided(rows, share, seed) == (train, validation)


def test_the_order_of_both_sides_is_the_files():
    rows = taught("abcdefghij")
    for side in divided(rows, 0.3, 0):
        assert side == [one for one in rows if one in side]


def test_what_is_learned_is_not_measured():
    assert [row.content for row, _ in unseen(taught("abc"), taught("cda"))] == [Completion("", "b")]
