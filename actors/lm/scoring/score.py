"""Log-likelihoods of continuations under many adapters in one batch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from actors.lm.decode.batch import left_padded, positions
from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import Score, ScoreRequest
from actors.lm.sampling.row import check_tokens
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.linear import group_rows


class ScoreJob(NamedTuple):
    """A checked request, bound to a slot."""

    request: ScoreRequest
    slot: int
    adapter_digest: str


class _Line(NamedTuple):
    job: int
    ids: list[int]
    continuation: int  # how many of the last ids are to be scored
    slot: int


def check_score(request: ScoreRequest, limits: Limits) -> None:
    """BadRequest unless context and every continuation hold tokens and fit the model."""
    for continuation in request.continuations:
        if not continuation:
            raise BadRequest("a continuation holds no tokens")
        check_tokens(request.context_ids, len(continuation), limits)
        check_tokens(continuation, 0, limits)


def score(bank: SlotBank, jobs: Sequence[ScoreJob], max_batch: int) -> list[Score]:
    """One score per job, in the order they came; BrokenAdapter when one is not finite."""
    lines = [
        _Line(i, [*job.request.context_ids, *continuation], len(continuation), job.slot)
        for i, job in enumerate(jobs)
        for continuation in job.request.continuations
    ]
    # Rows of like length share a batch, so that little of it is padding.
    by_length = sorted(range(len(lines)), key=lambda i: len(lines[i].ids))
    values = [0.0] * len(lines)
    for start in range(0, len(lines), max_batch):
        chosen = by_length[start : start + max_batch]
        chosen = [chosen[i] for i in group_rows([lines[i].slot for i in chosen])[0]]
        batch = _loglikelihoods(bank, [lines[i] for i in chosen])
        for i, value in zip(chosen, batch, strict=True):
            values[i] = value
    found: list[list[float]] = [[] for _ in jobs]
    for line, value in zip(lines, values, strict=True):
        if not math.isfinite(value):
            name = jobs[line.job].request.adapter
            raise BrokenAdapter(f'"{name}" gives numbers that are not finite')
        found[line.job].append(value)
    return [Score(sums, job.adapter_digest) for sums, job in zip(found, jobs, strict=True)]


@torch.inference_mode()
def _loglikelihoods(bank: SlotBank, lines: list[_Line]) -> list[float]:
    """Summed log-probability of each line's continuation; lines in slot order."""
    _, groups = group_rows([line.slot for line in lines])
    model = bank.base.model
    tokens, mask = left_padded([line.ids for line in lines], model.device)
    tail = max(line.continuation for line in lines)
    with bank.routed(groups):
        output = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions(mask),
            logits_to_keep=tail + 1,
            use_cache=False,
        )
    logprobs: Tensor = output.logits[:, :-1].float().log_softmax(dim=-1)  # [B, tail, V]
    targets = tokens[:, -tail:].unsqueeze(-1)
    per_token = logprobs.gather(-1, targets).squeeze(-1).double()
    lengths = torch.tensor([line.continuation for line in lines], device=tokens.device)
    scored = torch.arange(tail, device=tokens.device) >= tail - lengths.unsqueeze(1)
    return torch.where(scored, per_token, 0.0).sum(dim=1).tolist()
