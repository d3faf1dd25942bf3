"""Hold rows to JSON schemas: which tokens may come next, by xgrammar.

Importing this takes a second, so rows import it with the first schema.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import xgrammar
from torch import Tensor
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest
from actors.lm.sampling.schema import FIELD, check_schema
from actors.lm.sampling.text import unseen_ids

_CACHE_BYTES = 64 * 2**20
_CONTROL_BYTES = bytes(range(0x20))


class Grammar:
    """Where one row stands in its schema."""

    def __init__(self, schema: str, limits: Limits) -> None:
        check_schema(schema)
        compiler = _compiler(limits.tokenizer, limits.vocabulary, limits.end_ids)
        try:
            # Models like to go on with white space, and small ones never end: JSON on one line.
            compiled = compiler.compile_json_schema(schema, any_whitespace=False)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = re.sub(r"^\[.*?\.cc:\d+: ", "", str(error).strip())  # without its own place
            raise BadRequest(f"the JSON schema cannot be held to: {reason}", FIELD) from None
        self._vocabulary = limits.vocabulary
        self._matcher = xgrammar.GrammarMatcher(
            compiled, terminate_without_stop_token=not limits.end_ids
        )
        mask = xgrammar.allocate_token_bitmask(1, self._vocabulary)
        self.fill(mask, 0)
        if not mask.any():
            raise BadRequest("the JSON schema allows no text, or none in these tokens", FIELD)

    @property
    def ended(self) -> bool:
        """Whether the text is whole; with an end token, once that is accepted."""
        return self._matcher.is_terminated()

    def fill(self, mask: Tensor, row: int) -> None:
        """Set a row of the bit mask [B, V / 32] (int32, on the host) to what may come next."""
        self._matcher.fill_next_token_bitmask(mask, row)

    def accept(self, token: int) -> bool:
        """Go on with a token; False when it is not allowed."""
        return self._matcher.accept_token(token)


def mask_logits(logits: Tensor, grammars: Sequence[Grammar | None]) -> None:
    """Set what a row's grammar does not allow to -inf, in place; rows without one stay."""
    rows = [row for row, grammar in enumerate(grammars) if grammar]
    mask = xgrammar.allocate_token_bitmask(len(grammars), logits.shape[-1])
    for row in rows:
        grammar = grammars[row]
        assert grammar is not None
        grammar.fill(mask, row)
    xgrammar.apply_token_bitmask_inplace(logits, mask.to(logits.device), indices=rows)


@lru_cache(maxsize=4)
def _compiler(
    tokenizer: PreTrainedTokenizerBase, vocabulary: int, end_ids: frozenset[int]
) -> xgrammar.GrammarCompiler:
    """A compiler, which remembers what it compiled."""
    ends = sorted(end_ids) or None
    known = xgrammar.TokenizerInfo.from_huggingface(
        tokenizer, vocab_size=vocabulary, stop_token_ids=ends
    )
    # Special tokens would be written into strings as if they were text, and some length limits
    # let control characters through, which JSON has nowhere: without bytes neither is allowed.
    hidden = unseen_ids(tokenizer)
    texts = [
        b"" if i in hidden or any(byte in _CONTROL_BYTES for byte in text) else text
        for i, text in enumerate(known.decoded_vocab)
    ]
    told = xgrammar.TokenizerInfo(
        texts,
        xgrammar.VocabType.RAW,
        vocab_size=vocabulary,
        stop_token_ids=ends,
        add_prefix_space=known.add_prefix_space,
    )
    return xgrammar.GrammarCompiler(told, max_threads=1, cache_limit_bytes=_CACHE_BYTES)
