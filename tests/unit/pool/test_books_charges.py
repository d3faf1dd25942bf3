"""What attempts are held for, what is sent under a budget, and what they turn out to cost."""

from typing import Any

import pytest
from pydantic import BaseModel

from actors.lm.messages import user
from actors.pool.books.charges import Tariff
from actors.pool.books.key import call_key
from actors.pool.books.prices import Prices
from actors.pool.calls.answers import Answer
from actors.pool.calls.body import request_body
from actors.pool.calls.retry import Trouble
from actors.pool.calls.structured import asked_again
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest

ROUTER = Provider(
    "openrouter", "http://x/v1", "k", "m", "", schema_options={"provider": {"require": True}}
)
LOCAL = Provider("http://x/v1", "http://x/v1", "k", "m", "")
PRICES = Prices(4e-7, 1.6e-6, 0.0, 1000)
TARIFF = Tariff(ROUTER, PRICES, is_capped=True)
BODY: dict[str, Any] = {"model": "m", "messages": [user("Hi")]}
ANSWER = Answer("Hello.", False, "stop", 0, 0, 0.0, "m", cost_is_stated=False)


class Score(BaseModel):
    score: int


def test_under_a_budget_the_answer_and_the_route_are_limited():
    sent = TARIFF.sent(BODY)
    assert sent["max_tokens"] == 1000
    assert sent["provider"] == {"max_price": {"prompt": 0.4, "completion": 1.6}}
    assert TARIFF.bound_usd(sent) == TARIFF.bound_usd(BODY)
    assert TARIFF.sent({**BODY, "max_tokens": 7})["max_tokens"] == 7
    assert call_key("p", BODY, 0) != call_key("p", sent, 0)  # so the key is made before


def test_what_a_schema_asks_of_the_route_stays():
    body = request_body(ChatRequest("k", [user("Hi")], schema=Score), ROUTER)
    assert TARIFF.sent(body)["provider"] == {
        "require": True,
        "max_price": {"prompt": 0.4, "completion": 1.6},
    }
    assert body["provider"] == {"require": True}


@pytest.mark.parametrize(
    "tariff", [Tariff(ROUTER, PRICES, is_capped=False), Tariff(ROUTER, None, is_capped=True)]
)
def test_without_a_budget_or_prices_nothing_is_added(tariff: Tariff):
    assert tariff.sent(BODY) == BODY


def test_only_openrouter_is_told_a_price():
    assert "provider" not in Tariff(LOCAL, PRICES, is_capped=True).sent(BODY)


def test_a_fee_on_requests_is_capped_too():
    tariff = Tariff(ROUTER, Prices(request_usd=0.01), is_capped=True)
    assert tariff.sent(BODY)["provider"]["max_price"]["request"] == 0.01
    assert "max_tokens" not in tariff.sent(BODY)  # an answer is free, however long


def test_the_first_bound_covers_every_way_of_asking_for_a_schema():
    request = ChatRequest("k", [user("Hi")], schema=Score)
    bodies = [request_body(request, ROUTER, mode) for mode in ("strict", "json", "prompt")]
    first = TARIFF.first_bound_usd(request, bodies[0])
    assert first >= max(map(TARIFF.bound_usd, bodies))


def test_asking_again_is_held_for_at_its_own_length():
    again = {**BODY, "messages": asked_again(BODY["messages"], "{}" * 500, "score: missing")}
    assert TARIFF.bound_usd(again) > TARIFF.bound_usd(BODY) + 1000 * PRICES.prompt_usd


def test_tokens_are_priced_where_the_cost_is_not_stated():
    for found in (ANSWER, Trouble("retry", "server", "empty", cost_is_stated=False)):
        used = found._replace(prompt_tokens=10, completion_tokens=100)
        charged = TARIFF.charge(used, BODY)
        assert charged.found.cost_usd == pytest.approx(10 * 4e-7 + 100 * 1.6e-6)
        assert charged.presumed_usd == 0


def test_what_nobody_states_is_presumed_at_its_bound():
    lost = Trouble("retry", "timeout", "", maybe_billed=True)
    for found in (ANSWER, lost):
        assert TARIFF.charge(found, BODY) == (found, TARIFF.bound_usd(BODY))


def test_what_is_stated_and_what_has_no_price_is_left_as_it_is():
    for found in (
        ANSWER._replace(cost_usd=0.1, cost_is_stated=True),
        Trouble("final", "rejected", ""),
    ):
        assert TARIFF.charge(found, BODY) == (found, 0.0)
    assert Tariff(LOCAL, None, is_capped=True).charge(ANSWER, BODY) == (ANSWER, 0.0)
