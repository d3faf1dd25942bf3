"""Trees of like length as the tensors of one forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from actors.lm.requests import Question
from actors.lm.scoring.tree import Tree

_PADDING = 0  # behind a row's last token, where none of its own looks


@dataclass(frozen=True)
class Batch:
    """B trees in rows of T tokens, the R places where the head is read, the P tokens read there.

    Without positions and mask all rows are chains, as the model takes them by itself.
    """

    token_ids: Tensor  # [B, T] int64
    positions: Tensor | None  # [B, T] int64
    mask: Tensor | None  # [B, 1, T, T] added to the attention's scores
    reads: Tensor  # [R] int64, places of the flattened rows
    pairs: Tensor  # [P] int64, which of the reads predicts each token of a continuation
    predicted: Tensor  # [P] int64, that token's id
    owners: Tensor  # [P] int64, which of `continuations` it belongs to
    continuations: list[tuple[int, int]]  # (question, continuation)


def cut(trees: Sequence[Tree], max_tokens: int, max_reads: int) -> Iterator[list[Tree]]:
    """Trees of like length, few enough at once that tokens, padding included, and reads fit.

    Chains share no batch with others: a mask that takes the place of the model's own would hide
    its windows from them. The longest come first: a pass that needs too much memory fails early.
    """
    chosen: list[Tree] = []
    longest = reads = 0
    for tree in sorted(trees, key=lambda tree: (tree.is_chain, len(tree)), reverse=True):
        more = len(tree.reads)
        if chosen and (
            (len(chosen) + 1) * longest > max_tokens
            or reads + more > max_reads
            or tree.is_chain != chosen[0].is_chain
        ):
            yield chosen
            chosen, reads = [], 0
        if not chosen:
            longest = len(tree)
        chosen.append(tree)
        reads += more
    if chosen:
        yield chosen


def batch_of(
    trees: Sequence[Tree], questions: Sequence[Question], dtype: torch.dtype, device: torch.device
) -> Batch:
    """The tensors of some trees; `dtype` is the one that the model computes in."""
    length = max(map(len, trees))
    token_ids = np.full((len(trees), length), _PADDING)
    for row, tree in zip(token_ids, trees, strict=True):
        row[: len(tree)] = tree.token_ids
    positions = mask = None
    if not all(tree.is_chain for tree in trees):
        positions = torch.from_numpy(_positions(trees, length)).to(device)
        mask = _additive(_visible(trees, length), dtype, device)
    reads, pairs, predicted, owners, continuations = [], [], [], [], []
    for row, tree in enumerate(trees):
        index = {place: len(reads) + i for i, place in enumerate(tree.reads)}
        reads += [row * length + place for place in index]
        for i, path in tree.paths.items():
            pairs += [index[place] for place in path]
            predicted += questions[tree.question].continuations[i]
            owners += [len(continuations)] * len(path)
            continuations.append((tree.question, i))

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device)

    return Batch(
        torch.from_numpy(token_ids).to(device),
        positions,
        mask,
        tensor(reads),
        tensor(pairs),
        tensor(predicted),
        tensor(owners),
        continuations,
    )


def _positions(trees: Sequence[Tree], length: int) -> np.ndarray:
    """[B, T], padding at the position of the row's last place."""
    positions = np.zeros((len(trees), length), dtype=np.int64)
    for row, tree in zip(positions, trees, strict=True):
        row[: len(tree)] = tree.positions
    return positions


def _visible(trees: Sequence[Tree], length: int) -> np.ndarray:
    """[B, T, T] whether a place sees another."""
    causal = np.tri(length, dtype=bool)
    visible = np.broadcast_to(causal, (len(trees), length, length)).copy()
    for row, tree in zip(visible, trees, strict=True):
        for place in range(tree.context_tokens, len(tree)):
            row[place] = row[tree.parents[place]]
            row[place, place] = True
    return visible


def _additive(visible: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[B, 1, T, T], as both of transformers' own attentions take it."""
    hidden = torch.from_numpy(~visible).unsqueeze(1).to(device)
    return torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(
        hidden, torch.finfo(dtype).min
    )
