"""Rendered dialogues as batches of similar length."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from actors.lm.chat import Rendered

IGNORED = -100


class Batch(NamedTuple):
    """Rows of similar length. Padding stands at the end, where causal attention never looks."""

    token_ids: torch.Tensor  # [B, T] int64
    targets: torch.Tensor  # [B, T] int64, the next token, or -100 where nothing is learned


def endless_batches(rows: Sequence[Rendered], batch_tokens: int, seed: int) -> Iterator[Batch]:
    """Batches of at most `batch_tokens`, padding included; each pass shuffles them anew."""
    rng = random.Random(seed)
    groups = _groups(sorted(rows, key=lambda row: len(row.token_ids)), batch_tokens)
    while True:
        for group in rng.sample(groups, len(groups)):
            yield _batch(group)


def _groups(rows: Sequence[Rendered], batch_tokens: int) -> list[list[Rendered]]:
    """Rows sorted by length, cut where a padded group would exceed its tokens."""
    groups: list[list[Rendered]] = [[]]
    for row in rows:
        if groups[-1] and len(row.token_ids) * (len(groups[-1]) + 1) > batch_tokens:
            groups.append([])
        groups[-1].append(row)
    return groups


def _batch(rows: Sequence[Rendered]) -> Batch:
    length = max(len(row.token_ids) for row in rows)
    token_ids = torch.zeros(len(rows), length, dtype=torch.long)
    targets = torch.full((len(rows), length), IGNORED)
    for i, row in enumerate(rows):
        ids = torch.tensor(row.token_ids)
        token_ids[i, : len(ids)] = ids
        is_target = torch.tensor(row.is_target[1:])
        targets[i, : len(ids) - 1] = torch.where(is_target, ids[1:], IGNORED)
    return Batch(token_ids, targets)
