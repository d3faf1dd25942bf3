"""Token choice: greedy, the whole distribution, the nucleus."""

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.lm.sampling.choose import Draws, choose_tokens

# Ties have no order, so which of them the nucleus keeps is not defined.
LOGITS = st.lists(st.integers(-80, 80), min_size=2, max_size=12, unique=True).map(
    lambda quarters: [quarter / 4 for quarter in quarters]
)


def test_zero_temperature_is_greedy_whatever_the_draw() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert choose_tokens(logits, [0, 0], [1, 0.1], [0.99, 0.99]).tolist() == [1, 0]


@settings(deadline=None)
@given(logits=LOGITS, temperature=st.floats(0.1, 5), top_p=st.floats(0.05, 1))
def test_draws_spread_evenly_give_the_distribution(
    logits: list[float], temperature: float, top_p: float
) -> None:
    nucleus, nearest = _nucleus(logits, temperature, top_p)
    assume(nearest > 1e-5)
    count = 2000
    rows = torch.tensor(logits).repeat(count, 1)
    draws = [(i + 0.5) / count for i in range(count)]
    tokens = choose_tokens(rows, [temperature] * count, [top_p] * count, draws)
    shares = torch.bincount(tokens, minlength=len(logits)) / count
    torch.testing.assert_close(shares.double(), nucleus, atol=2 / count, rtol=0)


def _nucleus(logits: list[float], temperature: float, top_p: float) -> tuple[torch.Tensor, float]:
    """The distribution, and how near the cut came to going elsewhere."""
    probabilities = (torch.tensor(logits).double() / temperature).softmax(0)
    kept, mass, nearest = torch.zeros_like(probabilities), 0.0, 1.0
    for i in sorted(range(len(logits)), key=lambda i: -probabilities[i]):
        if top_p < 1:
            nearest = min(nearest, abs(mass - top_p))
        if mass >= top_p:
            break
        kept[i] = probabilities[i]
        mass += float(probabilities[i])
    return kept / kept.sum(), nearest


@pytest.mark.parametrize("temperature", [1e-320, 1e-12])
def test_extreme_cold_is_finite(temperature: float) -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0]])
    assert choose_tokens(logits, [temperature], [1.0], [0.999]).tolist() == [1]


def test_draws_repeat_with_their_seed() -> None:
    def first(seed: int) -> list[float]:
        draws = Draws(seed)
        return [draws.next() for _ in range(5)]

    assert first(7) == first(7)
    assert all(a != b for a, b in pairwise([first(seed) for seed in range(-5, 5)]))
    assert first(-1) == first(-1) != first(1)
    assert first(7)[0] == random.Random(7).random()  # stored results depend on it


def test_a_nucleus_wider_than_the_short_list_is_whole() -> None:
    vocabulary, count = 2000, 4000
    draws = [(i + 0.5) / count for i in range(count)]
    nearly_flat = -1e-4 * torch.arange(vocabulary).repeat(count, 1)
    tokens = choose_tokens(nearly_flat, [1.0] * count, [0.5] * count, draws)
    mass = nearly_flat[0].double().softmax(0).cumsum(0)
    assert abs(int(tokens.max()) - int((mass < 0.5).sum())) <= 1
    assert tokens.unique().tolist() == list(range(int(tokens.max()) + 1))
