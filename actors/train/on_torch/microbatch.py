"""Split a batch over ranks and into micro-batches of bounded size, and make tensors of them.

Rows are packed one after another where the model can tell documents apart, and are padded to the
longest where it cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from actors.train.datum import Datum
from actors.train.losses import LossName, TokenInputs
from actors.train.on_torch.documents import DOCUMENTS, Documents

_PADDING = 0  # behind a row's last token, where none of its own looks


class Row(NamedTuple):
    """A datum in its batch."""

    datum: Datum
    first: int  # its first token's place among those of the whole batch
    reads: NDArray[np.int64]  # [n], the positions whose targets are looked at

    def __len__(self) -> int:
        return len(self.datum)


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the model at once, and the N targets that are looked at."""

    inputs: dict[str, Any]  # what the decoder is called with
    reads: torch.Tensor  # [N], places in the decoder's flattened answer
    places: torch.Tensor  # [positions], each one's token's place in the whole batch; padding: 0
    target_ids: torch.Tensor  # [N]
    given: TokenInputs  # of N tokens


def rows_of(datums: Sequence[Datum], loss: LossName, reads_all: bool) -> list[Row]:
    """The rows of a batch; without `reads_all` only what teaches something is looked at."""
    firsts = np.cumsum([0, *map(len, datums)])
    reads = [np.arange(len(d)) if reads_all else np.flatnonzero(d.taught(loss)) for d in datums]
    return [Row(*row) for row in zip(datums, firsts.tolist(), reads, strict=False)]


def shard(rows: Sequence[Row], rank: int, world_size: int) -> list[Row]:
    """A rank's rows, the longest first; the ranks get rows of about the same lengths."""
    return sorted(rows, key=len, reverse=True)[rank::world_size]


def microbatches(rows: Sequence[Row], max_tokens: int, reach: int) -> list[list[Row]]:
    """Groups of neighbours with at most `max_tokens` positions, padding included.

    Rows come sorted by length, the longest first; those of up to `reach` tokens are packed, with
    their like alone. A row that is longer than `max_tokens` gets a group of its own.
    """
    groups: list[list[Row]] = []
    taken = 0
    for row in rows:
        longest = len(groups[-1][0]) if groups else 0
        padded_to = longest if longest > reach else len(row)
        if not groups or taken + padded_to > max_tokens or longest > reach >= len(row):
            groups.append([])
            taken, padded_to = 0, len(row)
        groups[-1].append(row)
        taken += padded_to
    return groups


def collate(rows: Sequence[Row], reach: int, device: torch.device) -> MicroBatch:
    """The tensors of a group on `device`."""
    longest = max(map(len, rows))
    if longest <= reach:
        firsts = np.cumsum([0, *map(len, rows)])[:-1]
        inputs = _packed(rows, device)
    else:
        firsts = np.arange(len(rows)) * longest
        inputs = _padded(rows, longest, device)
    places = np.zeros(inputs["input_ids"].numel(), np.int64)
    for first, row in zip(firsts, rows, strict=True):
        places[first : first + len(row)] = row.first + np.arange(len(row))

    def tensor(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    def read(name: str) -> torch.Tensor | None:
        arrays = [getattr(row.datum, name) for row in rows]
        if any(array is None for array in arrays):
            return None
        return tensor(np.concatenate([a[row.reads] for a, row in zip(arrays, rows, strict=True)]))

    return MicroBatch(
        inputs,
        tensor(np.concatenate([f + row.reads for f, row in zip(firsts, rows, strict=True)])),
        tensor(places),
        tensor(np.concatenate([row.datum.target_ids[row.reads] for row in rows])),
        TokenInputs(read("weights"), read("logprobs"), read("advantages")),
    )


def _packed(rows: Sequence[Row], device: torch.device) -> dict[str, Any]:
    """One line of documents whose positions count from 0 each."""
    token_ids = np.concatenate([row.datum.token_ids for row in rows])
    positions = np.concatenate([np.arange(len(row)) for row in rows])
    ids, places = torch.from_numpy(np.stack([token_ids, positions])).to(device).unsqueeze(1)
    return {
        "input_ids": ids,
        "position_ids": places,
        DOCUMENTS: Documents([len(row) for row in rows], device),
    }


def _padded(rows: Sequence[Row], length: int, device: torch.device) -> dict[str, Any]:
    """[B, T] with padding on the right."""
    token_ids = np.full((len(rows), length), _PADDING, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for i, row in enumerate(rows):
        token_ids[i, : len(row)] = row.datum.token_ids
        mask[i, : len(row)] = 1
    ids, attended = torch.from_numpy(np.stack([token_ids, mask])).to(device)
    return {"input_ids": ids, "attention_mask": attended}
