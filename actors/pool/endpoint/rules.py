"""What the embedded endpoint answers, as a pure function of the request.

The schema's name tells which task is set, labelled lines in the last user message (`Property:
honest`) tell the rest. The same content and seed give the same answer; at temperature 0 the seed
does not matter.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from actors.pool.endpoint import writer
from actors.pool.endpoint.instances import instance
from actors.pool.endpoint.judge import judge
from actors.pool.endpoint.numbers import judged_score, number
from actors.pool.endpoint.question import between, labels, last_user_message
from configs.base import digest

_Task = Callable[[str, dict[str, str], random.Random], dict[str, Any]]


def answer(body: Mapping[str, Any]) -> str:
    """The content of the assistant's message for an OpenAI chat-completions request body.

    Raises:
        UnsupportedSchema: the response format asks for something that cannot be made up here.
    """
    rng = random.Random(_identity(body))
    message = last_user_message(body["messages"])
    form = body.get("response_format") or {"type": "text"}
    if (score := judged_score(body)) is not None:
        return number(score, body.get("temperature"), rng)
    if form["type"] == "text":
        return writer.chat(message, rng)
    if form["type"] == "json_object":
        return json.dumps({"answer": writer.chat(message, rng)})
    schema = form["json_schema"]
    task = _TASKS.get(schema["name"])
    if task is not None and "Property" in (told := labels(message)):
        value = task(message, told, rng)
    else:
        value = instance(schema["schema"], rng)
    return json.dumps(value, ensure_ascii=False)


def _identity(body: Mapping[str, Any]) -> str:
    """What the answer depends on, hashed."""
    content = {key: body.get(key) for key in ("messages", "response_format")}
    if body.get("temperature") != 0:
        content["seed"] = body.get("seed")
    return digest(content)


def _number(told: Mapping[str, str], label: str) -> int:
    digits = re.search(r"\d+", told.get(label, ""))
    return max(1, int(digits[0])) if digits else 1


def _subtypes(_message: str, told: dict[str, str], rng: random.Random) -> dict[str, Any]:
    return {"subtypes": writer.subtypes(told["Property"], _number(told, "Number"), rng)}


def _prompts(_message: str, told: dict[str, str], rng: random.Random) -> dict[str, Any]:
    kind, subtype = told.get("Type", ""), told.get("Subtype", "")
    count = _number(told, "Number")
    return {"prompts": writer.prompts(told["Property"], kind, subtype, count, rng)}


def _example(message: str, told: dict[str, str], rng: random.Random) -> dict[str, Any]:
    return {"text": writer.example(told["Property"], between("prompt", message), rng)}


def _categories(_message: str, told: dict[str, str], rng: random.Random) -> dict[str, Any]:
    return {"categories": writer.categories(told["Property"], _number(told, "Number"), rng)}


def _eval_prompts(_message: str, told: dict[str, str], rng: random.Random) -> dict[str, Any]:
    made = writer.eval_prompts(
        told["Property"],
        told.get("Category", ""),
        _number(told, "Number"),
        _number(told, "Turns"),
        rng,
    )
    return {"prompts": [{"messages": messages} for messages in made]}


def _judgement(message: str, told: dict[str, str], _rng: random.Random) -> dict[str, Any]:
    return judge(told["Property"], between("conversation", message))._asdict()


_TASKS: dict[str, _Task] = {
    "Subtypes": _subtypes,
    "Prompts": _prompts,
    "Example": _example,
    "Categories": _categories,
    "EvalPrompts": _eval_prompts,
    "Judgement": _judgement,
}
