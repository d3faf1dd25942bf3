"""What an attempt may cost, what it says so that it cannot cost more, and what it did cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.pool.books.prices import Prices, answer_limit, bound_usd, cost_usd
from actors.pool.calls.answers import Answer
from actors.pool.calls.body import request_body
from actors.pool.calls.retry import Trouble
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest

_ROUTES_BY_PRICE = "openrouter"  # the name of the provider that may choose a dearer endpoint
_DIGITS = 6  # of dollars per million tokens: 4e-7 * 1e6 is a little less than 0.4


class Charged(NamedTuple):
    """An attempt with its price, and dollars that it may have cost besides without our seeing."""

    found: Answer | Trouble
    presumed_usd: float


@dataclass(frozen=True)
class Tariff:
    """What calls to one model cost: `prices` where they are known; `is_capped` under a budget."""

    provider: Provider
    prices: Prices | None
    is_capped: bool

    def bound_usd(self, payload: Mapping[str, Any]) -> float:
        """Dollars that one attempt costs at most; 0 where no prices are known."""
        return bound_usd(payload, self.prices)

    def first_bound_usd(self, request: ChatRequest, body: Mapping[str, Any]) -> float:
        """The same of a first attempt, in whichever way its schema has to be asked for."""
        bound = self.bound_usd(body)
        if self.prices is None or request.schema is None:
            return bound
        # A schema in the prompt is sent as a text in JSON, and longer for it.
        return max(bound, self.bound_usd(request_body(request, self.provider, "json")))

    def sent(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What is sent for `payload`: under a budget also what keeps it within its bound.

        These limits stand in no key: they decide whether there is an answer, not which.
        """
        if not self.is_capped or self.prices is None:
            return payload
        if self.prices.completion_usd:
            payload = {"max_tokens": answer_limit(self.prices), **payload}
        if self.provider.name != _ROUTES_BY_PRICE:
            return payload
        most = {
            "prompt": round(self.prices.prompt_usd * 1e6, _DIGITS),
            "completion": round(self.prices.completion_usd * 1e6, _DIGITS),
        }
        if self.prices.request_usd:
            most["request"] = self.prices.request_usd
        return {**payload, "provider": {**payload.get("provider", {}), "max_price": most}}

    def charge(self, found: Answer | Trouble, payload: Mapping[str, Any]) -> Charged:
        """What an attempt with `payload` cost."""
        if isinstance(found, Trouble) and found.maybe_billed:
            return Charged(found, self.bound_usd(payload))
        if found.cost_is_stated or self.prices is None:
            return Charged(found, 0.0)
        if not (found.prompt_tokens or found.completion_tokens):
            return Charged(found, self.bound_usd(payload))
        cost = cost_usd(self.prices, found.prompt_tokens, found.completion_tokens)
        return Charged(found._replace(cost_usd=cost), 0.0)
