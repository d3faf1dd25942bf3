"""Training data from files: rows of conversations, each with the place it came from.

examples.yaml   {config, provider, examples: [{key, subtype, prompt, text}, ...]}
*.jsonl         {"messages": [{"role", "content"}, ...]} a line; other fields are let be
"""

import json
import sys
from typing import Any, NamedTuple, cast

import yaml
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.messages import Conversation, Message, assistant, user
from actors.train.datum import Datum, conversation_datum
from actors.train.data.problems import Problems
from configs.errors import UserError
from configs.loader import parse_yaml_mapping

ROLES = ("system", "user", "assistant")
_MERGE = "tag:yaml.org,2002:merge"


class Row(NamedTuple):
    """One conversation and where it stands (`file:line`)."""

    where: str
    messages: Conversation


def parse_examples(path: str, data: bytes) -> list[Row]:
    """Rows of an examples file: the prompt is the user's turn, the text the assistant's.

    `path` names the file in errors.
    """
    problems = Problems()
    rows = []
    for line, example in _examples_with_lines(path, data):
        where = f"{path}:{line}"
        faults = _example_faults(example)
        for fault in faults:
            problems.add(f"{where}: {fault}.")
        if not faults:
            rows.append(Row(where, [user(example["prompt"]), assistant(example["text"])]))
    problems.check()
    return _not_empty(path, rows)


def parse_conversations(path: str, data: bytes) -> list[Row]:
    """Rows of a JSONL file with `messages`; blank lines are skipped."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text: {error.reason}.") from None
    problems = Problems()
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row, faults = _row_with_faults(line)
        for fault in faults:
            problems.add(f"{where}: {fault}.")
        if not faults:
            rows.append(Row(where, [_message(fields) for fields in row["messages"]]))
    problems.check()
    return _not_empty(path, rows)


def make_datums(
    tokenizer: PreTrainedTokenizerBase, rows: list[Row], max_tokens: int
) -> list[Datum]:
    """One datum per row; rows that are too long or teach nothing are told together."""
    problems = Problems()
    datums = []
    for row in rows:
        try:
            datum = conversation_datum(tokenizer, row.messages)
        except ValueError as error:
            problems.add(f"{row.where}: {error}.")
            continue
        tokens = len(datum) + 1
        if tokens > max_tokens:
            problems.add(
                f"{row.where}: {tokens} tokens, more than max_tokens={max_tokens}; "
                f"shorten the row or give max_tokens={tokens}."
            )
        datums.append(datum)
    problems.check()
    return datums


def _examples_with_lines(path: str, data: bytes) -> list[tuple[int, Any]]:
    """The entries of `examples`, each with its line."""
    examples = parse_yaml_mapping(path, data).get("examples")
    if not isinstance(examples, list):
        raise UserError(
            f'{path}: holds no list "examples"; give a file that `generate` wrote '
            "(datasets/*.examples.yaml), or data_file= for JSONL."
        )
    root: Any = yaml.compose(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    given = [(key, value) for key, value in root.value if key.value == "examples"]
    if not given:
        line = next(key for key, _ in root.value if key.tag == _MERGE).start_mark.line + 1
        raise UserError(f'{path}:{line}: "examples" comes from a merge key; write it out.')
    if len(given) > 1:
        line = given[1][0].start_mark.line + 1
        raise UserError(f'{path}:{line}: "examples" stands here a second time; leave one.')
    lines = [node.start_mark.line + 1 for node in given[0][1].value]
    return list(zip(lines, examples, strict=True))


def _example_faults(example: Any) -> list[str]:
    if not isinstance(example, dict):
        return ["an example must be a mapping with prompt and text"]
    return [
        f'"{field}" {fault if field in example else "is missing"}'
        for field in ("prompt", "text")
        if (fault := _text_fault(example.get(field)))
    ]


def _row_with_faults(line: str) -> tuple[Any, list[str]]:
    try:
        row = json.loads(line)
        return row, _conversation_faults(row)
    except json.JSONDecodeError as error:
        return None, [f"not valid JSON: {error.msg} at column {error.colno}"]
    except RecursionError:
        return None, ["lists or mappings are nested too deeply to be read"]
    except ValueError:  # Python's own limit, against quadratic time
        return None, [f"an integer has more than {sys.get_int_max_str_digits()} digits"]


def _conversation_faults(row: Any) -> list[str]:
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages:
        return ['a row must be {"messages": [...]} with at least one message']
    faults = []
    for i, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            faults.append(f"message {i} has role {role!r}; known: {', '.join(ROLES)}")
            continue
        if fault := _text_fault(message.get("content")):
            faults.append(f"the content of message {i} ({role}) {fault}")
        if role == "system" and i > 1:
            faults.append(f"message {i} is the system's; only the first can be")
    if not faults and messages[-1]["role"] != "assistant":
        faults.append("the last message must be the assistant's: there is nothing to learn")
    return faults


def _message(fields: dict[str, Any]) -> Message:
    return cast(Message, {"role": fields["role"], "content": fields["content"]})


def _text_fault(value: Any) -> str | None:
    """What keeps a value from being tokenized."""
    if not isinstance(value, str) or not value.strip():
        return "is empty or not text"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"has half a surrogate pair at character {error.start + 1}"
    return None


def _not_empty(path: str, rows: list[Row]) -> list[Row]:
    if not rows:
        raise UserError(f"{path}: holds no rows; there is nothing to train on.")
    return rows
