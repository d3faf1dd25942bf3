"""What a call costs: as the endpoint states it, or as the user does where it is silent."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import aiohttp
import httpx2
import openai

from actors.pool.calls.transport import authorization
from actors.pool.provider import Provider, is_loopback
from configs.sections import PoolConfig

_TIMEOUT_S = 20.0
_ASSUMED_ANSWER_TOKENS = 16_384  # where neither the request nor the provider sets a limit


class Prices(NamedTuple):
    """Dollars per token and per request, and the tokens that an answer may have at most."""

    prompt_usd: float = 0.0
    completion_usd: float = 0.0
    request_usd: float = 0.0
    max_completion_tokens: int | None = None


class PriceTable(Mapping[str, Prices]):
    """Prices by model; for a model that is not listed, those that the user gave, if any."""

    def __init__(self, listed: Mapping[str, Prices], otherwise: Prices | None) -> None:
        self._listed, self._otherwise = listed, otherwise

    def __getitem__(self, model: str) -> Prices:
        found = self._listed.get(model, self._otherwise)
        if found is None:
            raise KeyError(model)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def cost_usd(prices: Prices, prompt_tokens: int, completion_tokens: int) -> float:
    """Dollars of one request."""
    tokens_usd = prompt_tokens * prices.prompt_usd + completion_tokens * prices.completion_usd
    return prices.request_usd + tokens_usd


def bound_usd(body: Mapping[str, Any], prices: Prices | None) -> float:
    """Dollars that one request costs at most; 0 where no prices are known.

    No token is shorter than a byte, and what a chat template adds to a message is less than its
    JSON does: the bytes of messages and schema bound the prompt's tokens.
    """
    if prices is None:
        return 0.0
    sent = [body["messages"], body.get("response_format")]
    text = json.dumps(sent, ensure_ascii=False)
    completion_tokens = body.get("max_tokens", answer_limit(prices))
    return cost_usd(prices, len(text.encode("utf-8", "surrogatepass")), completion_tokens)


def answer_limit(prices: Prices) -> int:
    """Tokens that an answer may have where the request does not say; a budget makes it say so."""
    return prices.max_completion_tokens or _ASSUMED_ANSWER_TOKENS


async def fetch_prices(provider: Provider, config: PoolConfig) -> PriceTable:
    """Prices from `GET {base}/models` in OpenRouter's form, else those of `config`."""
    if provider.replay_only:
        return PriceTable({}, Prices())  # nothing is sent
    given = None
    if config.prompt_usd_per_million is not None or config.completion_usd_per_million is not None:
        given = Prices(
            (config.prompt_usd_per_million or 0.0) / 1e6,
            (config.completion_usd_per_million or 0.0) / 1e6,
        )
    return PriceTable(read_prices(await _models(provider)), given)


def read_prices(listing: Any) -> dict[str, Prices]:
    """The models of a listing that state their prices."""
    models = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(models, list):
        return {}
    found = {
        model["id"]: _read_model(model)
        for model in models
        if isinstance(model, dict) and isinstance(model.get("id"), str)
    }
    return {name: prices for name, prices in found.items() if prices is not None}


def _read_model(model: Mapping[str, Any]) -> Prices | None:
    pricing, top = model.get("pricing"), model.get("top_provider")
    if not isinstance(pricing, dict):
        return None
    usd = [_number(pricing.get(name, 0)) for name in ("prompt", "completion", "request")]
    # A negative price says that it depends on where the request is sent.
    if any(not 0 <= price < math.inf for price in usd):
        return None
    top = top if isinstance(top, dict) else {}
    listed, contexts = top.get("max_completion_tokens"), [top, model]
    limits = [listed if isinstance(listed, int) else _ASSUMED_ANSWER_TOKENS]
    # Endpoints refuse a limit that leaves no room for the prompt.
    limits += [c // 2 for place in contexts if isinstance(c := place.get("context_length"), int)]
    return Prices(*usd, max_completion_tokens=min(limits))


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


async def _models(provider: Provider) -> Any:
    """The listing; None where the endpoint has none that can be read."""
    client = openai.AsyncOpenAI(
        base_url=provider.base_url,
        api_key=provider.api_key,
        default_headers=authorization(provider),
        max_retries=2,
        timeout=httpx2.Timeout(_TIMEOUT_S),
        http_client=openai.DefaultAioHttpClient(trust_env=not is_loopback(provider.base_url)),
    )
    async with client:
        try:
            response = await client.get("/models", cast_to=httpx2.Response)
            return json.loads(response.content)
        # What is amiss with the endpoint shows in the calls, where it is told properly.
        except (openai.APIError, aiohttp.ClientError, ValueError):
            return None
