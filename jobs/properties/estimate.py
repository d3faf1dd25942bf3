"""What calls will cost, told before the first of them."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from actors.pool.books.prices import Prices, bound_usd, cost_usd
from actors.pool.calls.body import request_body
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest

_CHARACTERS_PER_TOKEN = 4  # of English


class Stage(NamedTuple):
    """Calls of one kind."""

    name: str
    calls: int
    request: ChatRequest  # a typical one
    answer_tokens: int  # of a typical answer


class Estimate(NamedTuple):
    """Calls and dollars, told from a typical call; None where no prices are known.

    Prompts differ and retries come on top: a budget is what holds a run's cost.
    """

    calls: int
    about_usd: float | None
    longest_usd: float | None  # every answer as long as it may be

    def __str__(self) -> str:
        calls = f"{self.calls} call{'s' * (self.calls != 1)}"
        if self.about_usd is None or self.longest_usd is None:
            return f"estimate: {calls}, no prices known"
        longest = f"{_dollars(self.longest_usd)} with the longest answers"
        return f"estimate: {calls}, about {_dollars(self.about_usd)}; {longest}"


def estimate(
    stages: Sequence[Stage],
    stored: Mapping[str, int],
    provider: Provider,
    prices: Mapping[str, Prices],
) -> Estimate:
    """The estimate of `stages`, less the calls of this run that are `stored`, by stage."""
    calls, about_usd, longest_usd, priced = 0, 0.0, 0.0, True
    for stage in stages:
        left = max(0, stage.calls - stored.get(stage.name, 0))
        body = request_body(stage.request, provider)
        price = prices.get(body["model"])
        calls += left
        if price is None:
            priced = priced and not left
            continue
        answer_tokens = min(stage.answer_tokens, stage.request.max_tokens or stage.answer_tokens)
        about_usd += left * cost_usd(price, _prompt_tokens(body), answer_tokens)
        longest_usd += left * bound_usd(body, price)
    return Estimate(calls, about_usd, longest_usd) if priced else Estimate(calls, None, None)


def _prompt_tokens(body: Mapping[str, object]) -> int:
    sent = [body["messages"], body.get("response_format", "")]
    return len(json.dumps(sent, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN


def _dollars(amount_usd: float) -> str:
    """`$0.41`; small amounts keep two digits that count."""
    return f"${amount_usd:.2f}" if amount_usd >= 0.1 or not amount_usd else f"${amount_usd:.2g}"
