"""How a token reads, down to its bytes: a token may be a part of a character."""

import re
from collections.abc import Iterable

from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.requests import TokenLogprob
from serve.calls import TokenText

_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")  # a byte that a SentencePiece vocabulary lacks
_WORD_START = "\u2581"  # how SentencePiece writes a space


class TokenTexts:
    """The texts of a tokenizer's tokens; each is worked out once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._special = {i: str(one) for i, one in tokenizer.added_tokens_decoder.items()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._is_byte_level = "ByteLevel" in repr(getattr(backend, "decoder", None))
        self._known: dict[int, TokenText] = {}

    def of(self, token_ids: Iterable[int]) -> dict[int, TokenText]:
        """Token id -> how it reads."""
        return {token: self._one(token) for token in token_ids}

    def told(
        self, token_ids: Iterable[int], logprobs: Iterable[TokenLogprob | None]
    ) -> dict[int, TokenText]:
        """The tokens that stand somewhere, and those that could have."""
        likely = (other.token_id for one in logprobs if one for other in one.likeliest)
        return self.of((*token_ids, *likely))

    def _one(self, token: int) -> TokenText:
        known = self._known.get(token)
        if known is None:
            raw = self._raw(token)
            known = self._known[token] = TokenText(raw.decode("utf-8", "replace"), raw)
        return known

    def _raw(self, token: int) -> bytes:
        if token in self._special:
            return self._special[token].encode()
        written = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(written, str):  # a model may have more rows than its tokenizer tokens
            return b""
        if self._is_byte_level:
            return bytes(_BYTE_OF[character] for character in written)
        fallback = _FALLBACK.fullmatch(written)
        return (
            bytes([int(fallback[1], 16)])
            if fallback
            else written.replace(_WORD_START, " ").encode()
        )
