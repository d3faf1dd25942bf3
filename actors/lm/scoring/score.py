"""Log-likelihoods of continuations under many adapters, a forward pass at a time."""

import math
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest
from actors.lm.requests import Likelihood, Question, Scores
from actors.lm.scoring.batches import Batch, batch_of, cut
from actors.lm.scoring.forward import logits_at_reads, tree_reach
from actors.lm.scoring.tree import trees_of
from actors.lm.slots.bank import SlotBank

_MIN_PASS_TOKENS = 1024  # more is no faster on a CPU, fewer is up to a fifth slower
_MAX_PASS_LOGITS = 2**26  # 256 MB in float32
_UNKNOWN = Likelihood(math.nan, False)


def check_questions(questions: Sequence[Question], limits: Limits) -> None:
    """BadRequest unless all hold tokens of the model and fit its context."""
    for i, question in enumerate(questions):
        if not question.context_ids:
            raise BadRequest(f"question {i}: its context holds no tokens")
        if not question.continuations:
            raise BadRequest(f"question {i} has no continuations")
        for ids in (question.context_ids, *question.continuations):
            if not ids:
                raise BadRequest(f"question {i}: a continuation holds no tokens")
            if min(ids) < 0 or max(ids) >= limits.vocabulary:
                raise BadRequest(f"question {i}: token ids must lie in 0..{limits.vocabulary - 1}")
        context, longest = len(question.context_ids), max(map(len, question.continuations))
        if context + longest > limits.context_tokens:
            raise BadRequest(
                f"question {i}: context ({context} tokens) and continuation ({longest}) exceed "
                f"the model's context of {limits.context_tokens} tokens"
            )


def score(
    bank: SlotBank,
    slots: Sequence[int],
    digests: Sequence[str],
    questions: Sequence[Question],
    step_tokens: int,
) -> Generator[None, None, list[Scores]]:
    """What the adapters in `slots` say to checked questions: yields after every pass.

    `step_tokens` bounds a pass, all adapters counted; 1,024 are always allowed.
    """
    adapters = sorted(set(slots))
    sums = {slot: [[_UNKNOWN] * len(q.continuations) for q in questions] for slot in adapters}
    for some, batch in _passes(bank, adapters, questions, max(step_tokens, _MIN_PASS_TOKENS)):
        likelihoods = _likelihoods(logits_at_reads(bank, some, batch), batch)
        for slot, told in zip(some, likelihoods, strict=True):
            for (question, i), likelihood in zip(batch.continuations, told, strict=True):
                sums[slot][question][i] = likelihood
        yield
    return [_scores(digest, sums[slot]) for slot, digest in zip(slots, digests, strict=True)]


def _passes(
    bank: SlotBank, adapters: Sequence[int], questions: Sequence[Question], max_tokens: int
) -> Generator[tuple[Sequence[int], Batch]]:
    """Batches and the adapters that take them together, as many of both as a pass has room for."""
    model, reach = bank.base.model, tree_reach(bank.base.model)
    max_reads = max(1, _MAX_PASS_LOGITS // model.config.get_text_config().vocab_size)
    trees = [
        tree
        for number, question in enumerate(questions)
        for tree in trees_of(number, question, max_tokens=max_tokens, reach=reach)
    ]
    share = max(1, len(adapters))
    for chosen in cut(trees, max_tokens // share, max_reads // share):
        batch = batch_of(chosen, questions, model.dtype, model.device)
        room = min(max_tokens // batch.token_ids.numel(), max_reads // len(batch.reads))
        at_once = max(1, room)
        for first in range(0, len(adapters), at_once):
            yield adapters[first : first + at_once], batch


@torch.inference_mode()
def _likelihoods(logits: Tensor, batch: Batch) -> list[list[Likelihood]]:
    """[K, R, V] -> what each of K adapters says to the batch's continuations."""
    logprobs = logits.float().log_softmax(-1)
    of_tokens = logprobs[:, batch.pairs, batch.predicted].double()  # [K, P]
    missed = (logprobs.argmax(-1)[:, batch.pairs] != batch.predicted).long()
    empty = of_tokens.new_zeros(len(logits), len(batch.continuations))
    sums = empty.index_add(1, batch.owners, of_tokens)
    misses = empty.long().index_add(1, batch.owners, missed)
    return [
        [Likelihood(*pair) for pair in zip(row, greedy, strict=True)]
        for row, greedy in zip(sums.tolist(), (misses == 0).tolist(), strict=True)
    ]


def _scores(digest: str, told: list[list[Likelihood]]) -> Scores:
    if all(math.isfinite(likelihood.logprob) for question in told for likelihood in question):
        return Scores(digest, told)
    return Scores(digest, [], problem="its log-likelihoods are not finite")
