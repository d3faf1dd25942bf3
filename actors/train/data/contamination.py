"""Evaluation prompts that stand in the training data.

Texts are compared as words: letters and digits, without regard to case, form (NFKC), whitespace and
punctuation. Of scripts that put no spaces between words each letter is one. A prompt is found where
a user's turn says just its words, or says them among others if they are `TELLING_WORDS` or more. Of
a prompt of several messages the first counts, and of the others those of so many words: "Yes,
please" stands everywhere.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from actors.train.data.eval_prompts import EvalPrompt
from actors.train.data.row import Row

TELLING_WORDS = 8
# Han with its iteration marks, kana, Thai and Lao, Myanmar, Khmer.
_UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_WORD = re.compile(rf"[^\W_{_UNSPACED}]+|(?=[^\W_])[{_UNSPACED}]")

Words = tuple[str, ...]


class Contact(NamedTuple):
    """A row that holds an evaluation prompt."""

    row: str  # file:line
    prompt: str  # file:line


def contacts(rows: Sequence[Row], prompts: Sequence[EvalPrompt]) -> list[Contact]:
    """Every pair of a row and a prompt that it holds, in the order of the rows."""
    index = _index(prompts)
    found = (
        Contact(row.where, where)
        for row in rows
        for text in row.asked
        for where in _found(words(text), index)
    )
    return list(dict.fromkeys(found))


def words(text: str) -> Words:
    """A text as it is compared."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _index(prompts: Sequence[EvalPrompt]) -> dict[Words, list[tuple[Words, str]]]:
    """Messages and their places under their first words."""
    index: dict[Words, list[tuple[Words, str]]] = defaultdict(list)
    for prompt in prompts:
        for i, message in enumerate(map(words, prompt.messages)):
            if len(message) >= TELLING_WORDS or (message and i == 0):
                index[message[:TELLING_WORDS]].append((message, prompt.where))
    return index


def _found(said: Words, index: dict[Words, list[tuple[Words, str]]]) -> Iterator[str]:
    if len(said) < TELLING_WORDS:
        yield from (where for _, where in index.get(said, ()))
    for start in range(len(said) - TELLING_WORDS + 1):
        for message, where in index.get(said[start : start + TELLING_WORDS], ()):
            if said[start : start + len(message)] == message:
                yield where
