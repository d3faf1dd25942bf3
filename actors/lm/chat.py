"""Render conversations to tokens, and find the tokens that the assistant must learn.

Most chat templates carry no generation markers, and transformers then returns a mask of all
zeros or all ones. The mask here comes from rendering prefixes of the conversation: what the text
gains when an assistant turn is added to the prompt for it is that turn's target.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from jinja2 import TemplateError
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.messages import Message


class Rendered(NamedTuple):
    """A conversation as tokens."""

    token_ids: list[int]  # [T]
    is_target: list[bool]  # [T], true on what the assistant said, its end-of-turn token included


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of the prompt that the assistant's next turn continues."""
    text = _text(tokenizer, messages, generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Rendered:
    """Token ids of a whole conversation with its target mask.

    Raises ValueError when the template rewrites earlier turns (then no prefix of the text is a
    prefix of the conversation) or when there is nothing to learn.
    """
    text = _text(tokenizer, messages, generation_prompt=False)
    spans = [
        _target_span(tokenizer, messages, i, text)
        for i, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets: list[tuple[int, int]] = encoded["offset_mapping"]
    is_target = [
        end > start and any(s <= start and end <= e for s, e in spans) for start, end in offsets
    ]
    if not any(is_target):
        raise ValueError("no token of an assistant's turn to learn")
    return Rendered(encoded["input_ids"], is_target)


def _target_span(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], i: int, text: str
) -> tuple[int, int]:
    """Characters of assistant turn i: from its prompt's end to its end-of-turn mark."""
    before = _text(tokenizer, messages[:i], generation_prompt=True)
    after = _text(tokenizer, messages[: i + 1], generation_prompt=False)
    if not (text.startswith(after) and after.startswith(before)):
        raise ValueError(
            f"the chat template rewrites earlier turns, so turn {i + 1} has no fixed place; "
            "split the conversation so that its last turn is the assistant's only one"
        )
    # ChatML-like templates put a newline after the end-of-turn mark; it is never sampled.
    return len(before), len(after.rstrip("\n"))


def _text(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, generation_prompt: bool
) -> str:
    turns = [dict(message) for message in messages]
    try:
        text = tokenizer.apply_chat_template(
            cast(list[dict[str, str]], turns),
            tokenize=False,
            add_generation_prompt=generation_prompt,
        )
    except TemplateError as error:  # some templates refuse a system turn, or two turns in a row
        raise ValueError(f"the chat template refuses the conversation: {error}") from None
    return cast(str, text)
