"""One token for every row of a batch, chosen in one pass on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from actors.lm.sampling.choose import choose_tokens, divisor
from actors.lm.sampling.logprobs import read_logprobs
from actors.lm.sampling.row import Row


@torch.inference_mode()
def advance(rows: Sequence[Row], logits: Tensor) -> None:
    """Choose each row's next token by its logits [B, V], and give it to the row.

    The host waits for the device once. Rows whose logits are not finite fail alone.
    """
    logits = logits.float()
    logprobs = _tempered(rows, logits).log_softmax(dim=-1)
    tokens = choose_tokens(_restrained(rows, logits), [row.next_chance() for row in rows])
    counts = [row.request.top_logprobs for row in rows]
    for row, token, logprob in zip(rows, *read_logprobs(logprobs, tokens, counts), strict=True):
        row.accept(token, logprob)


def _tempered(rows: Sequence[Row], logits: Tensor) -> Tensor:
    """The logits by which rows are told their log-probabilities."""
    heats = [row.request.temperature if row.request.tempered else 1.0 for row in rows]
    if all(heat in (0.0, 1.0) for heat in heats):  # a greedy row is told those at 1
        return logits
    told = torch.tensor([heat or 1.0 for heat in heats], dtype=torch.float64).to(logits.device)
    return logits / divisor(told).unsqueeze(1)


def _restrained(rows: Sequence[Row], logits: Tensor) -> Tensor:
    """The logits with bias and grammar; a copy where any row has one."""
    biased = [(i, row.request.logit_bias) for i, row in enumerate(rows) if row.request.logit_bias]
    grammars = [None if row.done else row.grammar for row in rows]
    if not biased and not any(grammars):
        return logits
    logits = logits.clone()
    if biased:
        places = [(i, token) for i, bias in biased for token in bias]
        values = [value for _, bias in biased for value in bias.values()]
        index = torch.tensor(places).to(logits.device).unbind(dim=1)
        logits.index_put_(index, torch.tensor(values).to(logits), accumulate=True)
    if any(grammars):
        from actors.lm.sampling.grammar import mask_logits  # loaded with the first schema

        mask_logits(logits, grammars)
    return logits
