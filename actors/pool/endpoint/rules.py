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
from configs.base import digest

_LABEL = re.compile(r"^(\w+):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_Task = Callable[[str, dict[str, str], random.Random], dict[str, Any]]


def answer(body: Mapping[str, Any]) -> str:
    """The content of the assistant's message for an OpenAI chat-completions request body.

    Raises:
        UnsupportedSchema: the response format asks for something that cannot be made up here.
    """
    rng = random.Random(_identity(body))
    message = _last_user_message(body["messages"])
    form = body.get("response_format") or {"type": "text"}
    if form["type"] == "text":
        return writer.chat(message, rng)
    if form["type"] == "json_object":
        return json.dumps({"answer": writer.chat(message, rng)})
    schema = form["json_schema"]
    labels = _labels(message)
    task = _TASKS.get(schema["name"])
    if task is not None and "Property" in labels:
        value = task(message, labels, rng)
    else:
        value = instance(schema["schema"], rng)
    return json.dumps(value, ensure_ascii=False)


def _identity(body: Mapping[str, Any]) -> str:
    """What the answer depends on, hashed."""
    content = {key: body.get(key) for key in ("messages", "response_format")}
    if body.get("temperature") != 0:
        content["seed"] = body.get("seed")
    return digest(content)


def _last_user_message(messages: list[Mapping[str, Any]]) -> str:
    said = [message["content"] for message in messages if message["role"] == "user"]
    return said[-1] if said else messages[-1]["content"]


def _labels(message: str) -> dict[str, str]:
    """`Label: value` lines; the first occurrence counts."""
    return dict(reversed(_LABEL.findall(message)))


def _between(tag: str, message: str) -> str:
    """What stands between the first `<tag>` line and the last `</tag>` line."""
    found = re.search(rf"<{tag}>\n?(.*)</{tag}>", message, re.DOTALL)
    return found[1].strip() if found else ""


def _number(labels: Mapping[str, str], label: str) -> int:
    digits = re.search(r"\d+", labels.get(label, ""))
    return max(1, int(digits[0])) if digits else 1


def _subtypes(_message: str, labels: dict[str, str], rng: random.Random) -> dict[str, Any]:
    return {"subtypes": writer.subtypes(labels["Property"], _number(labels, "Number"), rng)}


def _prompts(_message: str, labels: dict[str, str], rng: random.Random) -> dict[str, Any]:
    kind, subtype = labels.get("Type", ""), labels.get("Subtype", "")
    count = _number(labels, "Number")
    return {"prompts": writer.prompts(labels["Property"], kind, subtype, count, rng)}


def _example(message: str, labels: dict[str, str], rng: random.Random) -> dict[str, Any]:
    return {"text": writer.example(labels["Property"], _between("prompt", message), rng)}


def _categories(_message: str, labels: dict[str, str], rng: random.Random) -> dict[str, Any]:
    return {"categories": writer.categories(labels["Property"], _number(labels, "Number"), rng)}


def _eval_prompts(_message: str, labels: dict[str, str], rng: random.Random) -> dict[str, Any]:
    made = writer.eval_prompts(
        labels["Property"],
        labels.get("Category", ""),
        _number(labels, "Number"),
        _number(labels, "Turns"),
        rng,
    )
    return {"prompts": [{"messages": messages} for messages in made]}


def _judgement(message: str, labels: dict[str, str], _rng: random.Random) -> dict[str, Any]:
    return judge(labels["Property"], _between("conversation", message))._asdict()


_TASKS: dict[str, _Task] = {
    "Subtypes": _subtypes,
    "Prompts": _prompts,
    "Example": _example,
    "Categories": _categories,
    "EvalPrompts": _eval_prompts,
    "Judgement": _judgement,
}
