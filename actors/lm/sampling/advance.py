"""One token for every row of a batch, chosen in one pass on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from actors.lm.sampling.choose import choose_tokens
from actors.lm.sampling.logprobs import read_logprobs
from actors.lm.sampling.row import Row


@torch.inference_mode()
def advance(rows: Sequence[Row], logits: Tensor) -> None:
    """Choose each row's next token by its logits [B, V], and give it to the row.

    The host waits for the device once. Rows whose logits are not finite fail alone.
    """
    logits = logits.float()
    logprobs = logits.log_softmax(dim=-1)
    tokens = choose_tokens(logits, [row.next_chance() for row in rows])
    counts = [row.request.top_logprobs for row in rows]
    for row, token, logprob in zip(rows, *read_logprobs(logprobs, tokens, counts), strict=True):
        row.accept(token, logprob)
