"""Problems of the user's own.

*.jsonl   "prompt" (or "question") with a text, or "messages" (or "prompt") with a list that ends
          with the user's; and where something is to be checked "answer", a text or a number
*.yaml    {prompts: [{property, messages: ["...", ...]}, ...]}, as `gen_eval` writes it: what the
          user says, turn by turn
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from actors.lm.messages import Conversation, assistant, user
from actors.train.data.jsonl import json_lines
from actors.train.data.problems import Problems
from actors.train.data.turns import conversation, text_fault, turn_faults
from actors.train.data.yaml_entries import list_entries
from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.problem_set import Placed
from configs.errors import UserError

_FIELDS = ("messages", "prompt", "question")
_HINT = "give an .eval.yaml that `gen_eval` wrote, or JSONL in a file *.jsonl"


class _Asked(NamedTuple):
    """What a row says."""

    messages: Conversation
    answer: str | None = None
    follow_ups: tuple[str, ...] = ()


def prompt_rows(
    side: str, path: str, data: bytes, faults: Problems, property_name: str | None
) -> list[Placed]:
    """The problems of a file; of an .eval.yaml those of `property_name`, where it is given."""
    is_yaml = path.endswith((".yaml", ".yml"))
    rows = (
        _eval_rows(path, data, faults, property_name) if is_yaml else _json_rows(path, data, faults)
    )
    return [
        Placed(where, Problem(key=f"{side}:{where.rpartition(':')[2]}", **asked._asdict()))
        for where, asked in rows
    ]


def _json_rows(path: str, data: bytes, faults: Problems) -> Iterator[tuple[str, _Asked]]:
    for where, row in json_lines(path, data, faults):
        found = _row_faults(row)
        for fault in found:
            faults.add(f"{where}: {fault}.")
        if not found:
            given = _given(row)
            messages = conversation(given) if isinstance(given, list) else [user(given)]
            answer = row.get("answer")
            yield where, _Asked(messages, None if answer is None else str(answer))


def _given(row: dict[str, Any]) -> Any:
    """What is asked, under whichever name; None where there is none. A null is no field."""
    return next((row[field] for field in _FIELDS if row.get(field) is not None), None)


def _row_faults(row: Any) -> list[str]:
    given = _given(row) if isinstance(row, dict) else None
    if given is None:
        return [f"a row needs one of {', '.join(_FIELDS)}"]
    found = _asked_faults(given)
    answer = row.get("answer")
    is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
    if answer is not None and not is_number and (fault := text_fault(answer)):
        found.append(f'"answer" {fault}')
    return found


def _asked_faults(given: Any) -> list[str]:
    if not isinstance(given, list):
        fault = text_fault(given)
        return [f"what is asked {fault}"] if fault else []
    # A conversation that teaches, but for the answer, which is still to come.
    found = turn_faults([*given, assistant("...")])
    if not found and (not given or given[-1]["role"] != "user"):
        found = ["the last message must be the user's: there is nothing to answer"]
    return found


def _eval_rows(
    path: str, data: bytes, faults: Problems, property_name: str | None
) -> Iterator[tuple[str, _Asked]]:
    seen: set[str] = set()
    is_found = False
    for where, row in list_entries(path, data, "prompts", _HINT):
        messages = row.get("messages") if isinstance(row, dict) else None
        if not isinstance(messages, list) or not messages or any(map(text_fault, messages)):
            faults.add(f"{where}: needs a list of texts under messages.")
            continue
        seen.add(str(row.get("property")))
        if property_name is None or row.get("property") == property_name:
            is_found = True
            yield where, _Asked([user(messages[0])], None, tuple(messages[1:]))
    if seen and not is_found:
        raise UserError(f"{path}: no prompt for {property_name}; it has {sorted(seen)}.")
