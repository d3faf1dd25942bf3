"""Choose the next token of every row: greedy, or by a uniform draw that belongs to the row.

A row's draws come from its own seed, and equal probabilities are kept or cut together, so its
tokens do not depend on which rows share its batch.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_COLDEST = 1e-6  # below this float32 overflows, and the best token is certain anyway
_SHORT_LIST_TOKENS = 256


class Chance(NamedTuple):
    """How one row's token is chosen; temperature 0 is greedy, and the rest is then unused."""

    temperature: float
    top_p: float
    top_k: int  # 0: no limit
    draw: float  # in [0, 1)


class Draws:
    """A row's uniform numbers in [0, 1): the same seed gives the same sequence."""

    def __init__(self, seed: int | None) -> None:
        # Of an integer, Random takes the absolute value: -1 would repeat 1.
        self._random = random.Random(str(seed) if seed is not None and seed < 0 else seed)

    def next(self) -> float:
        """The next draw."""
        return self._random.random()


def choose_tokens(logits: Tensor, chances: Sequence[Chance]) -> Tensor:
    """Token ids [B] from logits [B, V] (float32); -inf excludes a token."""
    sampled = [row for row, chance in enumerate(chances) if chance.temperature > 0]
    if len(sampled) == len(chances):
        return _sample(logits, chances)
    tokens = logits.argmax(dim=-1)
    if sampled:
        tokens[sampled] = _sample(logits[sampled], [chances[row] for row in sampled])
    return tokens


def _sample(logits: Tensor, chances: Sequence[Chance]) -> Tensor:
    settings = torch.tensor(chances, dtype=torch.float64).to(logits.device)
    temperature, top_p, top_k, draw = settings.split(1, dim=1)  # [B, 1] each
    heat = temperature.clamp(min=_COLDEST).float()
    probabilities = (logits / heat).softmax(dim=-1)
    cut = [row for row, chance in enumerate(chances) if chance.top_p < 1 or chance.top_k]
    if cut:
        whole = probabilities[cut]
        lowest = _lowest_kept(whole, top_p[cut], top_k[cut])
        probabilities[cut] = whole.masked_fill(whole < lowest, 0)
    return _draw(probabilities, draw)


def _draw(probabilities: Tensor, draw: Tensor) -> Tensor:
    """Inverse of the cumulative distribution [B, V] at draw [B, 1]."""
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1:].contiguous()
    index = torch.searchsorted(cumulative, draw * total, right=True)
    last_possible = torch.searchsorted(cumulative, total)  # what rounding must not go beyond
    return index.minimum(last_possible).clamp(max=probabilities.shape[-1] - 1).squeeze(1)


def _lowest_kept(probabilities: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """The smallest probability [B, 1] that top_k, and then top_p of what it leaves, keep."""
    vocabulary = probabilities.shape[-1]
    top_k = torch.where(top_k == 0, vocabulary, top_k)
    # On a CPU, sorting a whole vocabulary costs more than a small model: only for flat rows.
    # On a GPU, asking which rows are flat would cost a wait for the device.
    short = vocabulary if probabilities.is_cuda else min(_SHORT_LIST_TOKENS, vocabulary)
    lowest, is_open = _lowest_of_ranked(probabilities.topk(short).values, top_p, top_k, vocabulary)
    if short < vocabulary and (flat := is_open.nonzero().squeeze(1)).numel():
        ranked = probabilities[flat].sort(dim=-1, descending=True).values
        lowest[flat], _ = _lowest_of_ranked(ranked, top_p[flat], top_k[flat], vocabulary)
    return lowest


def _lowest_of_ranked(
    ranked: Tensor, top_p: Tensor, top_k: Tensor, vocabulary: int
) -> tuple[Tensor, Tensor]:
    """The same of the n likeliest [B, n], and whether a longer list could give another [B]."""
    length = ranked.shape[-1]
    in_k = torch.arange(length, device=ranked.device) < top_k
    mass = ranked.double().masked_fill(~in_k, 0)
    # Without top_k the masses are of the whole distribution, of which this may be a part.
    total = torch.where(top_k < vocabulary, mass.sum(dim=-1, keepdim=True), 1.0)
    kept = in_k & (mass.cumsum(dim=-1) - mass < top_p * total)
    last = (kept.sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return ranked.gather(1, last), kept[:, -1] | (top_k.squeeze(1) > length)
