"""Scores: the sum of the continuation's own log-probabilities, whatever shares the batch."""

import pytest
import torch

from actors.lm.adapter import read_adapter
from actors.lm.base import LoadedBase
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import ScoreRequest
from actors.lm.sampling.row import limits_of
from actors.lm.scoring.score import ScoreJob, check_score, score
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.linear import group_rows


@torch.inference_mode()
def _naive(bank: SlotBank, slot: int, context: list[int], continuation: list[int]) -> float:
    with bank.routed(group_rows([slot])[1]):
        logits = bank.base.model(input_ids=torch.tensor([context + continuation])).logits[0]
    logprobs = logits.log_softmax(-1)
    places = enumerate(continuation, start=len(context) - 1)
    return sum(logprobs[place, token].item() for place, token in places)


@pytest.mark.parametrize("max_batch", [1, 3, 64])
def test_scores_of_mixed_lengths_and_adapters(
    base: LoadedBase, adapter_paths: dict[str, str], max_batch: int
) -> None:
    bank = SlotBank(base, max_adapters=8)
    slots = [0, *(bank.load(read_adapter(path)) for path in adapter_paths.values())]
    torch.manual_seed(0)
    jobs = []
    for i in range(9):
        ids = torch.randint(5, 250, (30,)).tolist()
        request = ScoreRequest("any", ids[: 1 + i], [ids[10:12], ids[12:20], ids[20:21]])
        jobs.append(ScoreJob(request, slots[i % len(slots)], f"digest {i}"))
    results = score(bank, jobs, max_batch)
    for job, result in zip(jobs, results, strict=True):
        assert result.adapter_digest == job.adapter_digest
        context = list(job.request.context_ids)
        want = [_naive(bank, job.slot, context, list(c)) for c in job.request.continuations]
        torch.testing.assert_close(result.loglikelihoods, want, atol=1e-3, rtol=1e-4)


def test_what_cannot_be_scored_is_refused(base: LoadedBase) -> None:
    limits = limits_of(base)
    for context, continuations, named in (
        ([], [[5]], "no tokens"),
        ([5], [[]], "continuation holds no tokens"),
        ([5], [[6], [-1]], "token ids"),
        ([5] * 511, [[6, 7]], "context of 512"),
    ):
        with pytest.raises(BadRequest, match=named):
            check_score(ScoreRequest("base", context, continuations), limits)


def test_scores_that_are_not_finite_are_an_error(
    base: LoadedBase, adapter_paths: dict[str, str]
) -> None:
    bank = SlotBank(base, max_adapters=8)
    adapter = read_adapter(adapter_paths["plain"])
    for tensor in adapter.tensors.values():
        tensor.mul_(1e30)
    job = ScoreJob(ScoreRequest("huge", [5, 6], [[7]]), bank.load(adapter), "")
    with pytest.raises(BrokenAdapter, match="huge"):
        score(bank, [job], 8)
