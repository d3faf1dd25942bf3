"""Scores the slow way: every continuation by itself, the head at every place."""

from collections.abc import Generator
from typing import TypeVar

import torch

from actors.lm.requests import Likelihood, Question
from actors.lm.slots.bank import SlotBank

T = TypeVar("T")


@torch.inference_mode()
def alone(bank: SlotBank, slot: int, question: Question) -> list[Likelihood]:
    """What the adapter in a slot says to each continuation, computed in a row of its own."""
    told = []
    first = len(question.context_ids) - 1
    for continuation in question.continuations:
        ids = torch.tensor([[*question.context_ids, *continuation]])
        with bank.routed({slot: ids.numel()}):
            logits = bank.base.model(input_ids=ids, use_cache=False).logits[0].float()
        predicting = logits[first:-1].log_softmax(-1)
        tokens = torch.tensor(list(continuation))
        logprob = predicting.gather(1, tokens[:, None]).double().sum().item()
        told.append(Likelihood(logprob, bool((predicting.argmax(-1) == tokens).all())))
    return told


def finished(steps: Generator[None, None, T]) -> tuple[T, int]:
    """What a generator returns, and how often it yielded before."""
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1
