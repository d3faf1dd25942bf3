"""Rows of a file, whichever form it has. One file has one form.

*.yaml           {examples: [{prompt, text}, ...]}, as `generate` writes it
messages         {"messages": [{"role", "content", "weight"}, ...]} a line of JSONL
completion       {"prompt": "...", "completion": "..."}: plain text, the prompt is not learned
message lists    {"prompt": [message, ...], "completion": [message, ...]}: a conversation of which
                 only the completion's answers are learned
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.train.data.examples import example_rows
from actors.train.data.jsonl import json_lines
from actors.train.data.problems import Problems
from actors.train.data.row import Completion, Row
from actors.train.data.turns import (
    conversation,
    text_fault,
    turn_faults,
    turn_weights,
    unicode_fault,
)
from configs.errors import UserError


class _Form(NamedTuple):
    """How a line of one form is checked and read."""

    name: str
    faults: Callable[[dict[str, Any]], list[str]]
    row: Callable[[str, dict[str, Any]], Row]


def read_rows(path: str, data: bytes, problems: Problems) -> list[Row]:
    """The rows of a file; faults of single rows go to `problems`.

    Raises UserError where the file as a whole cannot be read or is empty.
    """
    known = len(problems)
    is_yaml = path.endswith((".yaml", ".yml"))
    rows = (example_rows if is_yaml else _jsonl_rows)(path, data, problems)
    if not rows and len(problems) == known:
        raise UserError(f"{path}: holds no rows; there is nothing to train on.")
    return rows


def _jsonl_rows(path: str, data: bytes, problems: Problems) -> list[Row]:
    rows: list[Row] = []
    first: tuple[str, str] | None = None
    for where, value in json_lines(path, data, problems):
        form = _form(value)
        if form is None:
            problems.add(
                f'{where}: a row must be {{"messages": [...]}}, or have "prompt" and "completion".'
            )
            continue
        first = first or (form.name, where)
        faults = form.faults(value)
        if form.name != first[0]:
            faults = [f"holds {form.name}, but {first[1]} holds {first[0]}; one form a file"]
        for fault in faults:
            problems.add(f"{where}: {fault}.")
        if not faults:
            rows.append(form.row(where, value))
    return rows


def _form(value: Any) -> _Form | None:
    """Other fields are let be, so rows of messages may also have a prompt. A null is no field."""
    if not isinstance(value, dict):
        return None
    if value.get("messages") is not None:
        return _MESSAGES
    parts = (value.get("prompt"), value.get("completion"))
    if None in parts:
        return None
    return _MESSAGE_LISTS if all(isinstance(part, list) for part in parts) else _COMPLETION


def _messages_row(where: str, value: dict[str, Any]) -> Row:
    messages = value["messages"]
    return Row(where, conversation(messages), turn_weights(messages))


def _completion_faults(value: dict[str, Any]) -> list[str]:
    if isinstance(value["prompt"], list) or isinstance(value["completion"], list):
        return ['"prompt" and "completion" must both be text, or both be lists of messages']
    faults = []
    # A prompt may be empty: then a text is learned from its beginning, which is the token that
    # the tokenizer puts there. Where it puts none, the mask's check refuses the row.
    prompt = value["prompt"]
    fault = unicode_fault(prompt) if isinstance(prompt, str) else "is not text"
    if fault:
        faults.append(f'"prompt" {fault}')
    if fault := text_fault(value["completion"]):
        faults.append(f'"completion" {fault}')
    return faults


def _completion_row(where: str, value: dict[str, Any]) -> Row:
    return Row(where, Completion(value["prompt"], value["completion"]))


def _message_lists_faults(value: dict[str, Any]) -> list[str]:
    if not value["prompt"] or not value["completion"]:
        return ['"prompt" and "completion" need at least one message each']
    return turn_faults([*value["prompt"], *value["completion"]])


def _message_lists_row(where: str, value: dict[str, Any]) -> Row:
    prompt, completion = value["prompt"], value["completion"]
    given = turn_weights(completion) or (1.0,) * len(completion)
    asked = tuple(0.0 if message["role"] == "assistant" else 1.0 for message in prompt)
    return Row(where, conversation([*prompt, *completion]), (*asked, *given))


_MESSAGES = _Form("messages", lambda value: turn_faults(value["messages"]), _messages_row)
_COMPLETION = _Form("prompt and completion", _completion_faults, _completion_row)
_MESSAGE_LISTS = _Form(
    "prompt and completion of messages", _message_lists_faults, _message_lists_row
)
