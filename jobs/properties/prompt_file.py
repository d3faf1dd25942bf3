"""Read what is to be evaluated: an .eval.yaml of `gen_eval`, or a JSONL of questions."""

import json
import re
from typing import Any, NamedTuple, TypeGuard

from configs.errors import UserError
from configs.loader import parse_yaml_mapping
from jobs.properties.distinct import distinct


class EvalItem(NamedTuple):
    """One prompt: the user's messages, and the property that its conversations are judged on."""

    index: int  # place in the file, from 0
    property: str
    category: str
    messages: tuple[str, ...]


def parse_eval_file(path: str, data: bytes, property_name: str | None) -> list[EvalItem]:
    """The prompts of a file; UserError with file and line (or prompt number) for what is wrong.

    `property_name` is what a JSONL of questions is judged on, and selects from an .eval.yaml.
    """
    if path.endswith(".jsonl"):
        items = _questions(path, data, property_name)
    else:
        items = _eval_prompts(path, parse_yaml_mapping(path, data))
        names = sorted({item.property for item in items})
        if property_name is not None:
            items = [item for item in items if item.property == property_name]
            if not items:
                raise UserError(f"{path}: no prompt for {property_name}; it has {names}.")
    if not items:
        raise UserError(f"{path}: holds no prompts.")
    return distinct(items, key=lambda item: (item.property, item.messages))


def _questions(path: str, data: bytes, property_name: str | None) -> list[EvalItem]:
    if property_name is None:
        raise UserError(f"{path}: questions need property=NAME, what their answers are judged on.")
    items = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            said = getattr(error, "msg", None) or error
            raise UserError(f"{path}:{number}: not valid JSON: {said}.") from None
        question = row.get("question") if isinstance(row, dict) else None
        if not _is_text(question):
            raise UserError(f'{path}:{number}: no text under "question".')
        items.append(EvalItem(len(items), property_name, "questions", (question,)))
    return items


def _eval_prompts(path: str, content: dict[str, Any]) -> list[EvalItem]:
    rows = content.get("prompts")
    if not isinstance(rows, list):
        raise UserError(f"{path}: has no list under `prompts`; give an .eval.yaml of `gen_eval`.")
    items = []
    for number, row in enumerate(rows, 1):
        messages = row.get("messages") if isinstance(row, dict) else None
        texts = isinstance(messages, list) and all(map(_is_text, messages))
        if not (texts and messages and row.get("property")):
            raise UserError(f"{path}: prompt {number} needs a property and a list of messages.")
        place = (number - 1, str(row["property"]), str(row.get("category", "")))
        items.append(EvalItem(*place, tuple(messages)))
    return items


def _is_text(value: object) -> TypeGuard[str]:
    """Half of a surrogate pair is a JSON string, but no text that can be sent or stored."""
    is_text = isinstance(value, str) and value.strip()
    return bool(is_text) and not re.search("[\ud800-\udfff]", str(value))
