"""Read log-probabilities off a batch of distributions, in one transfer from the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from actors.lm.requests import Likely, TokenLogprob
from actors.lm.sampling.limits import MOST_LIKELIEST


def read_logprobs(
    logprobs: Tensor, tokens: Tensor, counts: Sequence[int]
) -> tuple[list[int], list[TokenLogprob]]:
    """The tokens [N] and their log-probabilities in [N, V], each with its row's `counts` likeliest.

    Only rows with a count above 0 are searched for their likeliest.
    """
    asking = [row for row, count in enumerate(counts) if count]
    parts = [tokens, logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)]
    width = min(MOST_LIKELIEST, logprobs.shape[-1])  # the same for all: ties then fall alike
    if asking:
        searched = logprobs if len(asking) == len(counts) else logprobs[asking]
        top = searched.topk(width)
        parts += [top.indices.flatten(), top.values.flatten()]
    flat = torch.cat([part.double() for part in parts]).tolist()  # exact for ids and for float32
    rows = len(counts)
    ids, values, rest = [int(token) for token in flat[:rows]], flat[rows : 2 * rows], 2 * rows
    likeliest: list[tuple[Likely, ...]] = [()] * rows
    for i, row in enumerate(asking):
        start, apart = rest + i * width, len(asking) * width
        likeliest[row] = tuple(
            Likely(int(flat[place]), flat[place + apart])
            for place in range(start, start + min(counts[row], width))
        )
    return ids, [TokenLogprob(*told) for told in zip(values, likeliest, strict=True)]
