r"""GSM8K: word problems of grade school, whose answers end with "#### 72" (Cobbe et al., 2021).

A problem is put as the field puts it since it gives rewards for it: the number is asked for inside
\boxed{}, after one worked example, so that a base model also knows the form.
"""

import re
from collections.abc import Iterable
from typing import Any

from huggingface_hub import hf_hub_download

from actors.lm.base import quiet_hub
from actors.lm.messages import Conversation, assistant, user
from actors.train.data.jsonl import json_lines
from actors.train.data.problems import Problems
from actors.train.data.turns import text_fault
from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.numbers import final_number
from actors.train.grpo.tasks.problem_set import Placed, Sides
from configs.errors import UserError

HUB_ID = "openai/gsm8k"
_SUFFIX = r" Provide a numerical answer without units, written inside \boxed{}."
_EXAMPLE: Conversation = [
    user("A crate holds 6 bottles. How many bottles are in 3 crates and 2 single ones?" + _SUFFIX),
    assistant(r"3 crates hold 3 * 6 = 18 bottles. With 2 more that is 18 + 2 = 20. \boxed{20}"),
]
_CALCULATOR = re.compile(r"<<[^<>]*>>")  # the data set's notes of what a calculator was asked
_MARK = "####"


def gsm8k_rows(side: str, path: str, data: bytes, faults: Problems) -> list[Placed]:
    """The problems of a JSONL file with `question` and `answer`."""
    return _placed(side, json_lines(path, data, faults), faults)


def gsm8k_of_hub(faults: Problems) -> Sides:
    """The published splits: train is learned from, test is held out."""
    return Sides(*(_placed(side, _hub_rows(side), faults) for side in ("train", "test")))


def _hub_rows(split: str) -> list[tuple[str, Any]]:
    import pyarrow.parquet  # not loaded where a file is given

    try:
        with quiet_hub():
            path = hf_hub_download(
                HUB_ID, f"main/{split}-00000-of-00001.parquet", repo_type="dataset"
            )
    except OSError:  # whatever kept it from coming
        raise UserError(
            f"task=gsm8k: {HUB_ID} is neither in this machine's cache nor can the hub be reached; "
            'give data=PATH, a JSONL with "question" and "answer".'
        ) from None
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [(f"{HUB_ID}/{split}:{number}", row) for number, row in enumerate(rows, start=1)]


def _placed(side: str, rows: Iterable[tuple[str, Any]], faults: Problems) -> list[Placed]:
    placed = []
    for where, row in rows:
        if fault := _fault(row):
            faults.add(f"{where}: {fault}.")
        else:
            key = f"{side}:{where.rpartition(':')[2]}"
            placed.append(Placed(where, _problem(key, row["question"], row["answer"])))
    return placed


def _fault(row: Any) -> str | None:
    if not isinstance(row, dict):
        return 'a row must be {"question": "...", "answer": "... #### 72"}'
    for field in ("question", "answer"):
        if fault := text_fault(row.get(field)):
            return f'"{field}" {fault}'
    _, mark, answer = row["answer"].rpartition(_MARK)
    if not mark or final_number(answer) is None:
        return f'"answer" must end with {_MARK} and a number'
    return None


def _problem(key: str, question: str, answer: str) -> Problem:
    reasoning, _, number = (part.strip() for part in answer.rpartition(_MARK))
    worked = f"{_CALCULATOR.sub('', reasoning)} \\boxed{{{number}}}".lstrip()
    return Problem(key, [*_EXAMPLE, user(question.strip() + _SUFFIX)], number, worked)
