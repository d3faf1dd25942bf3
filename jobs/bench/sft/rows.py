"""The bench's data: GSM8K's problems as rows of tokens, and rows as our trainer takes them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.chat import render
from actors.lm.messages import assistant, user
from actors.train.datum import Datum
from actors.train.sft_loop import sft_schedule
from configs.sft import SftConfig
from jobs.bench.sft.work import Row


class Problem(NamedTuple):
    """One of GSM8K's."""

    question: str
    answer: str


def read_problems(file: Path) -> Iterator[Problem]:
    """The problems of a file, in its order."""
    for line in file.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        yield Problem(fields["question"], fields["answer"])


def make_row(tokenizer: PreTrainedTokenizerBase, problem: Problem) -> Row:
    """A problem as a conversation of two turns."""
    rendered = render(tokenizer, [user(problem.question), assistant(problem.answer)])
    return Row(token_ids=rendered.token_ids, is_target=rendered.is_target)


def make_datum(row: Row) -> Datum:
    """A row as our trainer takes it."""
    token_ids = np.asarray(row.token_ids, dtype=np.int64)
    weights = np.asarray(row.is_target, dtype=np.float32)
    return Datum(token_ids[:-1], token_ids[1:], weights[1:])


def in_batches(config: SftConfig, rows: Sequence[Row]) -> list[list[Row]]:
    """The batches that our loop makes of the rows, for who has no schedule of ours."""
    schedule = sft_schedule(config, len(rows))
    steps = range(schedule.total_steps)
    return [[rows[number] for number in schedule.batch(step)] for step in steps]
