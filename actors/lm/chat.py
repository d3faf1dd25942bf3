"""Render conversations to tokens, and find the tokens that the assistant must learn.

Most chat templates carry no generation markers, and transformers then returns a mask of all
zeros or all ones. The mask here comes from rendering prefixes of the conversation: what the text
gains when an assistant turn is added to the prompt for it is that turn's target.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, cast

import numpy as np
from jinja2 import TemplateError
from numpy.typing import ArrayLike, NDArray
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.messages import Message

# Templates that tell the model the date would make other tokens of the same conversation every
# day. Theirs is always this one, which Llama 3's template gives where nobody tells it the day.
_TODAY = date(2024, 7, 26)


class Span(NamedTuple):
    """Characters of a text, from `start` up to `end`."""

    start: int
    end: int


class Rendered(NamedTuple):
    """A conversation as tokens."""

    token_ids: list[int]  # [T]
    is_target: list[bool]  # [T], true on what the assistant said, its end-of-turn token included


class RewrittenTurns(ValueError):
    """The template shows a turn otherwise once others follow it, so its place is not fixed."""


class OpeningLeftOut(ValueError):
    """The prompt for an answer ends with what the template does not show in the answer."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of the prompt that the assistant's next turn continues."""
    text = conversation_text(tokenizer, messages, generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Rendered:
    """Token ids of a whole conversation with its target mask.

    Raises ValueError when the template rewrites earlier turns (then no prefix of the text is a
    prefix of the conversation) or when there is nothing to learn.
    """
    text = conversation_text(tokenizer, messages)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    spans = [answer_span(tokenizer, messages, i, text) for i in turns]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    is_target = np.zeros(len(encoded["input_ids"]), bool)
    for span in spans:
        is_target |= tokens_of(encoded["offset_mapping"], span)
    if not is_target.any():
        raise ValueError("no token of an assistant's turn to learn")
    return Rendered(encoded["input_ids"], is_target.tolist())


def conversation_text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    generation_prompt: bool = False,
) -> str:
    """A conversation as the tokenizer's own template shows it, on whichever day.

    Raises ValueError where the template refuses it.
    """
    turns = [dict(message) for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            cast(list[dict[str, str]], turns),
            tokenize=False,
            add_generation_prompt=generation_prompt,
            strftime_now=_TODAY.strftime,  # in place of the one that transformers offers
        )
    except TemplateError as error:  # some templates refuse a system turn, or two turns in a row
        raise ValueError(f"the chat template refuses the conversation: {error}") from None
    return cast(str, text)


def answer_span(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], i: int, text: str
) -> Span:
    """Where assistant turn i stands in the conversation's text, its end-of-turn mark included.

    Raises RewrittenTurns or OpeningLeftOut where no prefix of the text is the turn's own prompt.
    """
    if i == 0:
        raise ValueError("the assistant speaks first; begin with what it answers")
    before = conversation_text(tokenizer, messages[:i], generation_prompt=True)
    is_last = i == len(messages) - 1
    after = text if is_last else conversation_text(tokenizer, messages[: i + 1])
    if not after.startswith(before):
        asked = conversation_text(tokenizer, messages[:i])
        if before.startswith(asked) and after.startswith(asked):
            raise OpeningLeftOut(
                f"the chat template asks for turn {i + 1} with {before.removeprefix(asked)!r} and "
                "shows it without that, so otherwise than it would be sampled"
            )
    if not (text.startswith(after) and after.startswith(before)):
        raise RewrittenTurns(
            f"the chat template rewrites earlier turns, so turn {i + 1} has no fixed place"
        )
    # ChatML-like templates put a newline after the end-of-turn mark; it is never sampled.
    return Span(len(before), len(after.rstrip("\n")))


def tokens_of(offsets: ArrayLike, span: Span) -> NDArray[np.bool_]:
    """[T], true where a token ([T, 2] characters) holds any of the span's.

    A token may reach over the border: "2 + 2 = " and "four" may meet in the token " four". Where a
    tokenizer leaves spaces out of its places, one of nothing else is empty, and stands where it
    ends; what a tokenizer puts around a text is empty at 0.
    """
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    return (np.minimum(starts, ends - 1) < span.end) & (ends > span.start)
