"""Keys and prices: what makes calls the same, and what they cost at most."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.books.key import call_key
from actors.pool.books.prices import Prices, PriceTable, bound_usd, cost_usd, read_prices

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "seed": 1}


def test_the_order_of_fields_makes_no_difference_and_their_values_do():
    key = call_key("p", BODY, 0)
    assert key == call_key("p", dict(reversed(BODY.items())), 0)
    assert len(key) == 64
    others = [("q", BODY, 0), ("p", BODY, 1), ("p", {**BODY, "seed": 2}, 0)]
    assert len({key, *(call_key(*other) for other in others)}) == 4
    assert call_key("p", {"content": "\ud800"}, 0) != call_key("p", {"content": "\ud801"}, 0)


@given(st.text(), st.integers(0, 5000))
def test_no_tokenizer_can_make_a_request_dearer_than_its_bound(text: str, completion_tokens: int):
    body = {**BODY, "messages": [{"role": "user", "content": text}], "max_tokens": 5000}
    prices = Prices(3e-6, 15e-6, 0.001, 4096)
    most_prompt_tokens = len(text.encode("utf-8", "surrogatepass"))
    dearest = cost_usd(prices, most_prompt_tokens, completion_tokens)
    assert dearest <= bound_usd(body, prices)


def test_the_limit_that_is_sent_bounds_the_answer():
    prices = Prices(completion_usd=1.0, max_completion_tokens=100)
    assert bound_usd({**BODY, "max_tokens": 10}, prices) == 10
    assert bound_usd({**BODY, "max_tokens": 1000}, prices) == 1000
    assert bound_usd(BODY, prices) == 100
    assert bound_usd(BODY, Prices(completion_usd=1.0)) == 16_384
    assert bound_usd(BODY, None) == 0


def test_a_schema_is_part_of_the_prompt():
    prices = Prices(prompt_usd=1.0)
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    more = bound_usd({**BODY, "response_format": schema}, prices) - bound_usd(BODY, prices)
    assert more >= len(json.dumps(schema)) - len("null")


def test_openrouters_listing_is_read():
    top = {"max_completion_tokens": 32768, "context_length": 1047576}
    listing = {
        "data": [
            {
                "id": "openai/gpt-4.1-mini",
                "pricing": {"prompt": "0.0000004", "completion": "0.0000016", "image": "0"},
                "top_provider": top,
            },
            {
                "id": "no/limit",
                "context_length": 8192,
                "pricing": {"prompt": "0", "completion": "0", "request": "0.01"},
                "top_provider": {"max_completion_tokens": None},
            },
            {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
            {"id": "odd", "pricing": {"prompt": "much", "completion": None}},
            {"id": "vllm/model", "object": "model"},
            "not a model",
        ]
    }
    assert read_prices(listing) == {
        "openai/gpt-4.1-mini": Prices(4e-7, 1.6e-6, 0.0, 32768),
        "no/limit": Prices(0.0, 0.0, 0.01, 4096),
    }


@pytest.mark.parametrize("listing", [None, [], {"data": None}, {"object": "list"}])
def test_no_listing_is_no_prices(listing: object):
    assert read_prices(listing) == {}


def test_what_is_not_listed_costs_what_the_user_said():
    table = PriceTable({"listed": Prices(1.0)}, None)
    assert table.get("listed") == Prices(1.0)
    assert table.get("other") is None
    assert PriceTable({}, Prices(2.0)).get("other") == Prices(2.0)
