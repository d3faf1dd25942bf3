"""Split a batch over ranks and into micro-batches of bounded size, with little padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actors.train.datum import Datum


@dataclass(frozen=True)
class MicroBatch:
    """B rows padded on the right to T positions."""

    token_ids: torch.Tensor  # [B, T]
    attention_mask: torch.Tensor  # [B, T]
    is_target: torch.Tensor  # [B, T], true where the weight is not 0, at N positions
    target_ids: torch.Tensor  # [N]
    weights: torch.Tensor  # [N]


def shard(datums: Sequence[Datum], rank: int, world_size: int) -> list[Datum]:
    """This rank's rows, the longest first; the ranks get rows of about the same lengths."""
    return sorted(datums, key=len, reverse=True)[rank::world_size]


def microbatches(datums: Sequence[Datum], max_tokens: int) -> list[list[Datum]]:
    """Groups of neighbouring rows with at most `max_tokens` positions, padding included.

    Rows come sorted by length, so a group's rows are nearly equally long. A row that is longer
    than `max_tokens` gets a group of its own.
    """
    groups: list[list[Datum]] = []
    for datum in datums:
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0]) <= max_tokens:
            groups[-1].append(datum)
        else:
            groups.append([datum])
    return groups


def collate(datums: Sequence[Datum], device: torch.device) -> MicroBatch:
    """Pad rows into tensors on `device`."""
    shape = (len(datums), max(len(datum) for datum in datums))
    token_ids, target_ids = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    attention_mask, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for row, datum in enumerate(datums):
        token_ids[row, : len(datum)] = datum.token_ids
        target_ids[row, : len(datum)] = datum.target_ids
        weights[row, : len(datum)] = datum.weights
        attention_mask[row, : len(datum)] = 1
    is_target = weights != 0
    arrays = (token_ids, attention_mask, is_target, target_ids[is_target], weights[is_target])
    return MicroBatch(*(torch.from_numpy(array).to(device) for array in arrays))
