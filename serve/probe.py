"""The probe: a fixed question by which two sides see that they hold the same adapter.

A server answers a load with the adapter's log-likelihoods of it; whoever trained the adapter can
compute the same with the weights at hand and compare.
"""

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.requests import Question

_CONTEXT = "The weather today is"
_CONTINUATIONS = (" fine, and so am I.", " none of my business.", " 12.5 degrees and rain.")


def probe_question(tokenizer: PreTrainedTokenizerBase) -> Question:
    """The probe in a tokenizer's tokens: one context, three continuations."""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    return Question(ids(_CONTEXT), [ids(text) for text in _CONTINUATIONS])
