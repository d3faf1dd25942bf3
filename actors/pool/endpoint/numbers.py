"""The judge by rule that answers with a bare number, and how sure of it it is.

A question without a schema that has a property and a conversation in it asks for a number. The
answer spreads around the rule judge's score as a language model's would: most likely the score
itself, its neighbours less and less. Sampling draws from that spread; logprobs show it.
"""

import math
import random
from collections.abc import Mapping
from typing import Any

from actors.pool.endpoint.judge import judge
from actors.pool.endpoint.question import between, labels, last_user_message

_FADES = 0.7  # each further point is as likely as the one before times this
_FURTHEST = 12  # points from the score that are still possible


def judged_score(body: Mapping[str, Any]) -> int | None:
    """The rule judge's score of the conversation in a request; None where it asks for no number."""
    form = body.get("response_format") or {"type": "text"}
    message = last_user_message(body["messages"])
    conversation, name = between("conversation", message), labels(message).get("Property")
    if form["type"] != "text" or not conversation or name is None:
        return None
    return judge(name, conversation).score


def spread(score: int) -> dict[int, float]:
    """Number -> its probability, most likely first."""
    numbers = range(max(0, score - _FURTHEST), min(100, score + _FURTHEST) + 1)
    weights = {number: _FADES ** abs(number - score) for number in numbers}
    total = sum(weights.values())
    likeliest = sorted(weights, key=lambda number: -weights[number])
    return {number: weights[number] / total for number in likeliest}


def number(score: int, temperature: float | None, rng: random.Random) -> str:
    """The answer: the score itself at temperature 0, else a draw from its spread."""
    if temperature == 0:
        return str(score)
    chances = spread(score)
    sharper = 1 / (1.0 if temperature is None else temperature)
    drawn = rng.choices(list(chances), [(p / chances[score]) ** sharper for p in chances.values()])
    return str(drawn[0])


def logprobs(body: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """A choice's `logprobs` as OpenAI gives them; None unless a number was asked for."""
    score = judged_score(body)
    if score is None:
        return None
    chances = {str(number): math.log(p) for number, p in spread(score).items()}
    likeliest = list(chances.items())[: body.get("top_logprobs") or 0]
    token = _token(text, chances.get(text, -9999.0))
    alternatives = [_token(text, logprob) for text, logprob in likeliest]
    return {"content": [{**token, "top_logprobs": alternatives}], "refusal": None}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
