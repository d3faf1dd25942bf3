"""Attention among documents that lie one after another in one line: each sees itself alone.

The cost is the sum of the squares of their lengths, and nothing is padded. A model's layers call
`_attention` in place of transformers' own while `packed` is open.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from actors.lm.attending import attending

try:  # flash attention over documents, on GPUs that have it
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None

DOCUMENTS = "documents"  # models hand what they do not know by keyword on to the attention
_NAME = "hothouse_documents"
# Options of a layer's attention that mean nothing here: the base does not drop out, and there is
# no padding.
_HARMLESS = {
    "dropout", "is_causal", "position_ids", "use_cache", "cache_position", "output_attentions",
}  # fmt: skip


class Documents:
    """Where the documents of one line begin and end."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        # Neighbours of one length are attended in one batch.
        self.groups = [(length, len(list(group))) for length, group in groupby(lengths)]
        self.longest = max(lengths)
        bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        self.bounds = bounds.to(device)  # [documents + 1]


def packed(config: PreTrainedConfig) -> AbstractContextManager[None]:
    """Passes in here attend within documents; others as the model always does."""
    return attending(config, _NAME)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    documents: Documents,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """[1, Hq, N, D] queries, [1, H, N, D] keys and values -> [1, N, Hq, D].

    A window is as wide as the longest document, see `reach`. Raises TypeError for what this
    attention does not know.
    """
    unknown = {name for name, value in options.items() if value is not None and value is not False}
    if unknown - _HARMLESS:
        raise TypeError(f"unknown to this attention: {', '.join(sorted(unknown - _HARMLESS))}")
    if varlen_attn is not None and query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
        bounds, longest = documents.bounds, documents.longest
        answer = varlen_attn(
            query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1),
            bounds, bounds, longest, longest, scale=scaling, window_size=(-1, 0),
            enable_gqa=query.shape[1] > key.shape[1],
        )  # fmt: skip
        assert isinstance(answer, Tensor)
        return answer.unsqueeze(0), None
    sizes = [length * count for length, count in documents.groups]
    parts = zip(*(states[0].split(sizes, 1) for states in (query, key, value)), strict=True)
    answers = [
        _batch(q, k, v, group, scaling)
        for (q, k, v), group in zip(parts, documents.groups, strict=True)
    ]
    return torch.cat(answers).unsqueeze(0), None


def _batch(
    query: Tensor, key: Tensor, value: Tensor, group: tuple[int, int], scaling: float | None
) -> Tensor:
    """Causal attention in `count` documents of one length, [H, tokens, D] -> [tokens, Hq, D]."""
    length, count = group
    query, key, value = (
        states.unflatten(1, (count, length)).transpose(0, 1) for states in (query, key, value)
    )
    answers = F.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] > key.shape[1]
    )
    return answers.transpose(1, 2).flatten(0, 1)


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)
