"""A row's text while it grows: token by token, up to the first stop string.

Text that the next tokens may still change is held back, so that what was told stays true: the
bytes of a character that is not whole, and what may be the start of a stop string. A token costs
the same however long the text is.
"""

from collections.abc import Sequence
from functools import lru_cache

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

# UTF-8 is in step again 3 bytes after any cut, and a token that is kept has at least one byte.
_CONTEXT_TOKENS = 8
_UNFINISHED = "�"  # how decoders write bytes that are no character, or not yet
_MOST_UNFINISHED = 3  # a decoder may write one for each byte of a character that lacks its last


def decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """The text that a reader sees, without special tokens."""
    text = tokenizer.decode(
        list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return str(text)


@lru_cache(maxsize=8)
def unseen_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that give no text: special tokens."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(token for token, content in added if content.special)


class TextStream:
    """Tokens in, text out: as much of it as no later token can change."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer, self._unseen = tokenizer, unseen_ids(tokenizer)
        self._window: list[int] = []  # the last tokens, of which the text is made anew
        self._told = 0  # characters of the window's text that are out

    def add(self, token: int) -> str:
        """The text that this token settles."""
        if token in self._unseen:
            return ""
        self._window.append(token)
        text = decode(self._tokenizer, self._window)
        unfinished = len(text) - len(text.rstrip(_UNFINISHED))
        settled = max(len(text) - min(unfinished, _MOST_UNFINISHED), self._told)
        gained, self._told = text[self._told : settled], settled
        if len(self._window) >= 2 * _CONTEXT_TOKENS:
            self._slide(len(text) - settled)
        return gained

    def end(self) -> str:
        """What was held back, now that nothing more comes."""
        rest = decode(self._tokenizer, self._window)[self._told :]
        self._window, self._told = [], 0
        return rest

    def _slide(self, held_characters: int) -> None:
        """Forget the oldest tokens; the end of the text, held or told, stays as it is."""
        self._window = self._window[-_CONTEXT_TOKENS:]
        self._told = max(0, len(decode(self._tokenizer, self._window)) - held_characters)


class StopWatch:
    """Text in, text out, up to the first occurrence of any stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held = stops, ""
        self.found = False  # nothing comes out any more

    def add(self, text: str) -> str:
        """What is certain to stand before any stop string."""
        if self.found or not text:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        self.found = bool(places)
        end = min(places) if places else self._first_possible(text)
        self._held = text[end:]
        return text[:end]

    def end(self) -> str:
        """What was held back and turned out to be no stop string."""
        return "" if self.found else self._held

    def _first_possible(self, text: str) -> int:
        for start in range(len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stops):
                return start
        return len(text)
