"""Evaluation prompts, as far as training data may not hold them: what the user says.

*.yaml     {prompts: [{messages: ["...", ...]}, ...]}, as `gen_eval` writes it
*.jsonl    "question" or "prompt" with a text, or "messages" (or "prompt") with a list, a line
"""

from typing import Any, NamedTuple

from actors.train.data.jsonl import json_lines
from actors.train.data.problems import Problems
from actors.train.data.yaml_entries import list_entries
from configs.errors import UserError

_FIELDS = ("question", "messages", "prompt")
_HINT = "give an .eval.yaml that `gen_eval` wrote, or JSONL in a file *.jsonl"


class EvalPrompt(NamedTuple):
    """What the user says in one evaluation conversation, and where that stands."""

    where: str  # file:line
    messages: list[str]


def read_eval_prompts(path: str, data: bytes, problems: Problems) -> list[EvalPrompt]:
    """The prompts of a file; rows without a text become problems."""
    is_yaml = path.endswith((".yaml", ".yml"))
    rows = (
        list_entries(path, data, "prompts", _HINT) if is_yaml else json_lines(path, data, problems)
    )
    prompts, known = [], len(problems)
    for where, row in rows:
        if texts := _user_texts(row):
            prompts.append(EvalPrompt(where, texts))
        else:
            problems.add(f"{where}: holds no user's text under {' or '.join(_FIELDS)}.")
    if not prompts and len(problems) == known:
        raise UserError(f"{path}: holds no prompts.")
    return prompts


def _user_texts(row: Any) -> list[str]:
    given = [row[field] for field in _FIELDS if row.get(field)] if isinstance(row, dict) else []
    if not given:
        return []
    turns = given[0] if isinstance(given[0], list) else [given[0]]
    said = [turn["content"] if _is_users(turn) else turn for turn in turns]
    return [text for text in said if isinstance(text, str) and text.strip()]


def _is_users(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user" and "content" in turn
