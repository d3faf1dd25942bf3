"""Rows to datums: tokens, and the weight of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.chat import tokens_of
from actors.train.data.learned import NOTHING, LearnedText, TrainOn, learned_texts
from actors.train.data.problems import Problems
from actors.train.data.row import Completion, Row
from actors.train.datum import Datum

# The places of tokens in their text are Python objects, a hundred bytes a token: not all at once.
_TEXTS_AT_ONCE = 1024


class Rules(NamedTuple):
    """What of a row is learned, and what happens to a long one."""

    train_on: TrainOn
    max_tokens: int
    too_long: Literal["error", "truncate", "drop"]


Taught = tuple[Row, Datum]


@dataclass
class Tokenized:
    """The datums of a file, each with its row, and what became of the other rows."""

    taught: list[Taught] = field(default_factory=list)
    dropped: int = 0  # too long, or cut where nothing was learned yet
    truncated: int = 0


class _Tokens(NamedTuple):
    ids: NDArray[np.int64]  # [T]
    weights: NDArray[np.float32]  # [T], of saying the token; the first is never said


def make_datums(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], rules: Rules, problems: Problems
) -> Tokenized:
    """Datums of the rows of one file: all of them plain text, or all of them conversations."""
    made = Tokenized()
    texts = list(_texts(tokenizer, rows, rules.train_on, problems))
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[start : start + _TEXTS_AT_ONCE]
        for (row, _), tokens in zip(some, _tokens(tokenizer, some), strict=True):
            if fault := _mask_fault(tokens, rules.train_on):
                problems.add(f"{row.where}: {fault}.")
            elif len(tokens.ids) <= rules.max_tokens:
                _keep(made, row, tokens)
            else:
                _shorten(made, row, tokens, rules, problems)
    return made


def _texts(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], train_on: TrainOn, problems: Problems
) -> Iterator[tuple[Row, LearnedText]]:
    for row in rows:
        try:
            for text in learned_texts(tokenizer, row, train_on):
                yield row, text
        except ValueError as error:
            problems.add(f"{row.where}: {error}.")


def _tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[Row, LearnedText]]
) -> Iterator[_Tokens]:
    """Templates write their own special tokens; plain text gets the tokenizer's."""
    encoded = tokenizer(
        [text.text for _, text in texts],
        add_special_tokens=isinstance(texts[0][0].content, Completion),
        return_attention_mask=False,
        verbose=False,
    )
    for (_, text), tokens in zip(texts, encoded.encodings or (), strict=True):
        weights = np.full(len(tokens.ids), text.outside, np.float32)
        offsets = np.asarray(tokens.offsets, dtype=np.int64)
        for span, weight in text.spans:
            weights[tokens_of(offsets, span)] = weight
        yield _Tokens(np.asarray(tokens.ids, dtype=np.int64), weights)


def _mask_fault(tokens: _Tokens, train_on: TrainOn) -> str | None:
    """A mask of all zeros or all ones trains without a word, and on the wrong thing."""
    if not tokens.weights[1:].any():
        return NOTHING
    if train_on != "all" and tokens.weights.all():
        return "every token would be learned; put something before it, or give train_on=all"
    return None


def _shorten(made: Tokenized, row: Row, tokens: _Tokens, rules: Rules, problems: Problems) -> None:
    count, room = len(tokens.ids), rules.max_tokens
    cut = _Tokens(tokens.ids[:room], tokens.weights[:room])
    if rules.too_long == "error":
        problems.add(
            f"{row.where}: {count} tokens, more than max_tokens={room}; shorten the row, or give "
            f"max_tokens={count}, too_long=truncate or too_long=drop."
        )
    elif rules.too_long == "truncate" and cut.weights[1:].any():
        made.truncated += 1
        _keep(made, row, cut)
    else:
        made.dropped += 1


def _keep(made: Tokenized, row: Row, tokens: _Tokens) -> None:
    made.taught.append((row, Datum(tokens.ids[:-1], tokens.ids[1:], tokens.weights[1:])))
