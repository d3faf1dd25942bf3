"""Rows of what `generate` writes: {config, provider, examples: [{key, subtype, prompt, text}]}."""

from typing import Any

from actors.lm.messages import assistant, user
from actors.train.data.problems import Problems
from actors.train.data.row import Row
from actors.train.data.turns import text_fault
from actors.train.data.yaml_entries import list_entries

_HINT = "give a file that `generate` wrote (datasets/*.examples.yaml), or JSONL in a file *.jsonl"


def example_rows(path: str, data: bytes, problems: Problems) -> list[Row]:
    """The prompt is the user's turn, the text the assistant's."""
    rows = []
    for where, example in list_entries(path, data, "examples", _HINT):
        faults = _faults(example)
        for fault in faults:
            problems.add(f"{where}: {fault}.")
        if not faults:
            rows.append(Row(where, [user(example["prompt"]), assistant(example["text"])]))
    return rows


def _faults(example: Any) -> list[str]:
    if not isinstance(example, dict):
        return ["an example must be a mapping with prompt and text"]
    return [
        f'"{field}" {fault if field in example else "is missing"}'
        for field in ("prompt", "text")
        if (fault := text_fault(example.get(field)))
    ]
