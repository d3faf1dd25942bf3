"""Token choice: greedy, the whole distribution, what top_k and top_p leave of it."""

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from actors.lm.sampling.choose import Chance, Draws, choose_tokens

# Equal probabilities stay or go together; without them top_k keeps exactly k.
LOGITS = st.lists(st.integers(-80, 80), min_size=2, max_size=12, unique=True).map(
    lambda quarters: [quarter / 4 for quarter in quarters]
)


def _shares(logits: torch.Tensor, chance: Chance, count: int) -> torch.Tensor:
    """How often each token is chosen by draws that are spread evenly."""
    draws = [chance._replace(draw=(i + 0.5) / count) for i in range(count)]
    tokens = choose_tokens(logits.repeat(count, 1), draws)
    return torch.bincount(tokens, minlength=len(logits)).double() / count


def test_zero_temperature_is_greedy_whatever_the_draw() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert choose_tokens(logits, [Chance(0, 1, 0, 0.99), Chance(0, 0.1, 2, 0.99)]).tolist() == [
        1,
        0,
    ]


@settings(deadline=None)
@given(
    logits=LOGITS, temperature=st.floats(0.1, 5), top_p=st.floats(0.05, 1), top_k=st.integers(0, 14)
)
def test_draws_spread_evenly_give_the_distribution(
    logits: list[float], temperature: float, top_p: float, top_k: int
) -> None:
    exact, nearest = _truncated(logits, temperature, top_p, top_k)
    assume(nearest > 1e-5)
    count = 2000
    shares = _shares(torch.tensor(logits), Chance(temperature, top_p, top_k, 0), count)
    torch.testing.assert_close(shares, exact, atol=2 / count, rtol=0)


def _truncated(
    logits: list[float], temperature: float, top_p: float, top_k: int
) -> tuple[torch.Tensor, float]:
    """The distribution, and how near the cut of top_p came to going elsewhere."""
    probabilities = (torch.tensor(logits).double() / temperature).softmax(0)
    ranked = sorted(range(len(logits)), key=lambda i: -probabilities[i])[: top_k or None]
    whole = float(probabilities[ranked].sum())
    kept, mass, nearest = torch.zeros_like(probabilities), 0.0, 1.0
    for i in ranked:
        if top_p < 1:
            nearest = min(nearest, abs(mass - top_p * whole))
        if mass >= top_p * whole:
            break
        kept[i] = probabilities[i]
        mass += float(probabilities[i])
    return kept / kept.sum(), nearest


@pytest.mark.parametrize(
    "chance", [Chance(1.3, 1, 0, 0), Chance(0.7, 0.8, 0, 0), Chance(1, 0.9, 5, 0)]
)
def test_a_rows_own_draws_follow_the_distribution(chance: Chance) -> None:
    logits, draws, count = torch.tensor([0.3, 1.7, -0.4, 2.0, 0.9, -3.0, 1.1]), Draws(11), 20_000
    chances = [chance._replace(draw=draws.next()) for _ in range(count)]
    seen = torch.bincount(choose_tokens(logits.repeat(count, 1), chances), minlength=7).double()
    exact, _ = _truncated(logits.tolist(), chance.temperature, chance.top_p, chance.top_k)
    assert not seen[exact == 0].any()
    possible = exact > 0
    chi2 = ((seen - count * exact)[possible] ** 2 / (count * exact)[possible]).sum()
    assert chi2 < 22.5  # exceeded once in a thousand seeds at 6 degrees of freedom


def test_mixed_settings_choose_as_each_alone() -> None:
    torch.manual_seed(0)
    logits = torch.randn(40, 3000) * 2
    rng = random.Random(0)
    chances = [
        Chance(rng.choice([0, 0.5, 1.5]), rng.choice([0.3, 0.95, 1]), rng.choice([0, 3, 700]),
               rng.random())
        for _ in range(40)
    ]  # fmt: skip
    alone = [int(choose_tokens(logits[i : i + 1], [chance])) for i, chance in enumerate(chances)]
    assert choose_tokens(logits, chances).tolist() == alone


def test_draws_reach_every_token_of_a_large_vocabulary() -> None:
    torch.manual_seed(3)
    logits, count = torch.randn(1001), 50_000  # no whole number of blocks
    exact = logits.double().softmax(0)
    shares = _shares(logits, Chance(1.0, 1.0, 0, 0), count)
    torch.testing.assert_close(shares, exact, atol=2 / count, rtol=0)


@pytest.mark.parametrize("temperature", [1e-320, 1e-12])
def test_extreme_cold_is_finite(temperature: float) -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0]])
    assert choose_tokens(logits, [Chance(temperature, 1.0, 0, 0.999)]).tolist() == [1]


@given(temperature=st.floats(1e3, 1.7e308), draw=st.floats(0, 1, exclude_max=True))
@example(temperature=1e39, draw=0.5)
def test_extreme_heat_is_even_and_keeps_to_what_is_allowed(temperature: float, draw: float) -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf, 3.0]])
    chance = Chance(temperature, 1.0, 0, draw)
    assert choose_tokens(logits, [chance]).tolist() != [2]
    shares = _shares(logits[0], chance, 999)
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=4e-3)


@given(draw=st.floats(0, 1, exclude_max=True), allowed=st.integers(0, 4))
def test_what_is_excluded_is_never_chosen(draw: float, allowed: int) -> None:
    logits = torch.full((2, 5), -torch.inf)
    logits[:, allowed] = -50.0
    chances = [Chance(1.0, 1.0, 0, draw), Chance(1.0, 0.9, 0, 1 - 2**-53)]
    assert choose_tokens(logits, chances).tolist() == [allowed, allowed]


def test_equal_probabilities_are_kept_or_cut_together() -> None:
    shares = _shares(torch.tensor([1.0, 2.0, 1.0, 0.0]), Chance(1.0, 1.0, 2, 0), 1000)
    assert (shares > 0).tolist() == [True, True, True, False]


def test_draws_repeat_with_their_seed() -> None:
    def first(seed: int) -> list[float]:
        draws = Draws(seed)
        return [draws.next() for _ in range(5)]

    assert first(7) == first(7)
    assert all(a != b for a, b in pairwise([first(seed) for seed in range(-5, 5)]))
    assert first(-1) == first(-1) != first(1)
    assert first(7)[0] == random.Random(7).random()  # stored results depend on it


@pytest.mark.parametrize(("top_p", "top_k"), [(0.5, 0), (1.0, 1500), (0.8, 1500)])
def test_a_truncation_wider_than_the_short_list_is_whole(top_p: float, top_k: int) -> None:
    vocabulary = 2000
    nearly_flat = -1e-4 * torch.arange(vocabulary)
    exact, _ = _truncated(nearly_flat.tolist(), 1.0, top_p, top_k)
    shares = _shares(nearly_flat, Chance(1.0, top_p, top_k, 0), 4000)
    assert abs(int((shares > 0).sum()) - int((exact > 0).sum())) <= 1
    torch.testing.assert_close(shares, exact, atol=2 / 4000, rtol=0)
