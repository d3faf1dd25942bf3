"""Choose the next token of every row: greedy, or by a uniform draw that belongs to the row.

A row's draws come from its own seed, and equal probabilities are kept or cut together, so its
tokens do not depend on which rows share its batch.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

_COLDEST = 1e-6  # below this float32 overflows, and the best token is certain anyway
_HOTTEST = 1e6  # beyond it all tokens are equally likely anyway, and at 3e38 float32 ends
_BLOCK_TOKENS = 128
_SHORT_LIST_TOKENS = 1024


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


def divisor(temperature: Tensor) -> Tensor:
    """What logits are divided by, float32, at temperatures above 0."""
    return temperature.clamp(_COLDEST, _HOTTEST).float()


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
    probabilities = (logits / divisor(temperature)).softmax(dim=-1)
    cut = [row for row, chance in enumerate(chances) if chance.top_p < 1 or chance.top_k]
    if cut:
        whole = probabilities[cut]
        lowest = _lowest_kept(whole, top_p[cut], top_k[cut])
        probabilities[cut] = whole.masked_fill(whole < lowest, 0)
    return _draw(probabilities, draw)


def _draw(probabilities: Tensor, draw: Tensor) -> Tensor:
    """Inverse of the cumulative distribution [B, V] at draw [B, 1].

    First the block, then the token in it: sums over all of V are made once, and not kept.
    """
    vocabulary = probabilities.shape[-1]
    if missing := -vocabulary % _BLOCK_TOKENS:
        probabilities = pad(probabilities, (0, missing))
    blocks = probabilities.unflatten(1, (-1, _BLOCK_TOKENS))
    masses = blocks.sum(dim=-1, dtype=torch.float64)
    block, rest = _place(masses, draw * masses.sum(dim=-1, keepdim=True))
    inside = blocks.take_along_dim(block.unsqueeze(-1), dim=1).squeeze(1).double()
    place, _ = _place(inside, rest)
    token = (block * _BLOCK_TOKENS + place).squeeze(1)
    return token.clamp(max=vocabulary - 1)  # of NaNs too, something that is a token


def _place(masses: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where the masses [B, n] add up to more than the target [B, 1], and what it exceeds by."""
    cumulative = masses.cumsum(dim=-1)
    total = cumulative[:, -1:].contiguous()
    index = torch.searchsorted(cumulative, target, right=True)
    last_possible = torch.searchsorted(cumulative, total)  # what rounding must not go beyond
    index = index.minimum(last_possible).clamp(max=masses.shape[-1] - 1)
    return index, (target - (cumulative - masses).gather(1, index)).clamp(min=0)


def _lowest_kept(probabilities: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """The smallest probability [B, 1] that top_k, and then top_p of what it leaves, keep."""
    vocabulary = probabilities.shape[-1]
    top_k = torch.where(top_k == 0, vocabulary, top_k)
    ranked = _ranked(probabilities)
    # On a CPU the sums over a whole vocabulary are dear: only for rows that need them. On a GPU,
    # asking which rows do would cost a wait for the device.
    short = vocabulary if ranked.is_cuda else min(_SHORT_LIST_TOKENS, vocabulary)
    lowest, is_open = _lowest_of_ranked(ranked[:, :short], top_p, top_k, vocabulary)
    if short < vocabulary and (flat := is_open.nonzero().squeeze(1)).numel():
        lowest[flat], _ = _lowest_of_ranked(ranked[flat], top_p[flat], top_k[flat], vocabulary)
    return lowest


def _ranked(probabilities: Tensor) -> Tensor:
    """The same [B, V], largest first in each row."""
    if probabilities.is_cuda:
        return probabilities.sort(dim=-1, descending=True).values
    # 20 times as fast as torch's sort on a CPU, and faster than its topk.
    return torch.from_numpy(np.sort(probabilities.numpy(), axis=-1)).flip(-1)


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
