"""Choose the next token of every row: greedy, or by a uniform draw that belongs to the row.

A row's draws come from its own seed, so its tokens do not depend on which rows share its batch.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

_COLDEST = 1e-6  # below this float32 overflows, and the best token is certain anyway
_NUCLEUS_TOKENS = 512


class Draws:
    """A row's uniform numbers in [0, 1): the same seed gives the same sequence."""

    def __init__(self, seed: int | None) -> None:
        # Of an integer, Random takes the absolute value: -1 would repeat 1.
        self._random = random.Random(str(seed) if seed is not None and seed < 0 else seed)

    def next(self) -> float:
        """The next draw."""
        return self._random.random()


def choose_tokens(
    logits: Tensor, temperatures: Sequence[float], top_ps: Sequence[float], draws: Sequence[float]
) -> Tensor:
    """Token ids [B] from logits [B, V] (float32). Temperature 0 takes the most likely token."""
    tokens = logits.argmax(dim=-1)
    sampled = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    for nucleus in (False, True):
        rows = [row for row in sampled if (top_ps[row] < 1) == nucleus]
        if not rows:
            continue
        heat = _column([max(temperatures[row], _COLDEST) for row in rows], logits).float()
        probabilities = (logits[rows] / heat).softmax(dim=-1)
        draw = _column([draws[row] for row in rows], logits)
        if nucleus:
            top_p = _column([top_ps[row] for row in rows], logits)
            tokens[rows] = _draw_from_nucleus(probabilities, top_p, draw)
        else:
            tokens[rows] = _draw(probabilities, draw)
    return tokens


def _draw(probabilities: Tensor, draw: Tensor) -> Tensor:
    """Inverse of the cumulative distribution [B, V] at draw [B, 1]."""
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    target = draw * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True).squeeze(1)
    return index.clamp(max=probabilities.shape[-1] - 1)


def _draw_from_nucleus(probabilities: Tensor, top_p: Tensor, draw: Tensor) -> Tensor:
    """The same among the fewest most likely tokens whose probabilities reach top_p."""
    likeliest, tokens = probabilities.topk(min(_NUCLEUS_TOKENS, probabilities.shape[-1]))
    chosen = _draw_from_ranked(likeliest, tokens, top_p, draw)
    # Sorting a whole vocabulary costs more than the model's head: only for flat distributions.
    wide = (likeliest.sum(dim=-1, dtype=torch.float64) < top_p.squeeze(1)).nonzero().squeeze(1)
    if len(wide):
        ranked, tokens = probabilities[wide].sort(dim=-1, descending=True)
        chosen[wide] = _draw_from_ranked(ranked, tokens, top_p[wide], draw[wide])
    return chosen


def _draw_from_ranked(ranked: Tensor, tokens: Tensor, top_p: Tensor, draw: Tensor) -> Tensor:
    mass_before = ranked.cumsum(dim=-1, dtype=torch.float64) - ranked
    kept = ranked.masked_fill(mass_before >= top_p, 0)
    return tokens.gather(1, _draw(kept, draw).unsqueeze(1)).squeeze(1)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=like.device).unsqueeze(1)
