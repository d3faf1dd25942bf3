"""One completion by vllm, from its outputs to a sample.

The tokens go through the same `Row` that the torch engine samples with. Text, stop strings and
pieces are therefore the same on both engines, and a row that is done before vllm knows it is
aborted there.
"""

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from actors.lm.refusals import BrokenAdapter
from actors.lm.requests import Likely, Piece, TokenLogprob
from actors.lm.sampling.row import Row

PromptLogprobs = list[TokenLogprob | None]  # [P], the first is None


def told(token: int, ranked: Mapping[int, Any], likeliest: int) -> TokenLogprob:
    """A place's token and its likeliest, out of vllm's token id -> (logprob, rank)."""
    best = sorted(
        (entry.rank, Likely(other, entry.logprob))
        for other, entry in ranked.items()
        if 1 <= entry.rank <= likeliest
    )
    return TokenLogprob(ranked[token].logprob, tuple(likely for _, likely in best))


def prompt_logprobs(output: Any, likeliest: int, adapter: str) -> PromptLogprobs:
    """The prompt's log-probabilities; BrokenAdapter when they are not finite."""
    places = list(zip(output.prompt_token_ids, output.prompt_logprobs, strict=True))
    found = [told(token, ranked, likeliest) for token, ranked in places[1:]]
    if not all(math.isfinite(place.logprob) for place in found):
        raise BrokenAdapter(f'"{adapter}" gives numbers that are not finite')
    return [None, *found]


async def follow(
    outputs: AsyncGenerator[Any, None], row: Row, on_piece: Callable[[Piece], None] | None
) -> Any:
    """Feed the row until it is done; returns vllm's first output, which has the prompt's part."""
    first = None
    async with aclosing(outputs):  # leaving early aborts the request
        async for output in outputs:
            first = first or output
            [completion] = output.outputs
            likeliest = row.request.top_logprobs
            for token, ranked in zip(completion.token_ids, completion.logprobs, strict=True):
                row.accept(token, told(token, ranked, likeliest))
            if on_piece and (piece := row.take_piece()):
                on_piece(piece)
            if row.done:
                break
    return first


def replay(tokens: Sequence[int], logprobs: PromptLogprobs, row: Row) -> None:
    """Feed the row with tokens whose log-probabilities were computed afterwards."""
    for token, logprob in zip(tokens, logprobs[-len(tokens) :], strict=True):
        assert logprob is not None
        row.accept(token, logprob)


async def last(outputs: AsyncGenerator[Any, None]) -> Any:
    """The only output of a request that asked for the final one."""
    final = None
    async with aclosing(outputs):
        async for output in outputs:
            final = output
    return final
