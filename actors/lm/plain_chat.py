"""The chat template of bases that have none: turns as plain text, as a base model may know them."""

import logging
from functools import cache
from pathlib import Path

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from configs.errors import UserError

# What a base model goes on with where it forgets the end token: the user's next turn.
PLAIN_STOP = "\n\nUser:"
_TEMPLATE = (Path(__file__).parent / "plain.jinja").read_text(encoding="utf-8").rstrip("\n")
_log = logging.getLogger(__name__)


def with_plain_template(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer with the plain template; UserError where no token of it ends an answer."""
    if tokenizer.eos_token is None:
        raise UserError(
            f"{name}: its tokenizer has neither a chat template nor an end token, so no answer "
            "would have an end; use an instruct model."
        )
    tokenizer.chat_template = _TEMPLATE
    _tell(name)
    return tokenizer


def is_plain(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether conversations are shown to the model by the plain template."""
    return tokenizer.chat_template == _TEMPLATE


@cache
def _tell(name: str) -> None:
    """Once a process: a tokenizer is loaded in many places."""
    _log.warning(
        "%s has no chat template: conversations are shown to it as plain text, User: ... "
        "Assistant: ..., with its end token after each answer.", name
    )  # fmt: skip
