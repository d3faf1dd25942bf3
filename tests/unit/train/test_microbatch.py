"""Splitting a batch loses nothing and stays within its budget."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.train.datum import Datum, normalised
from actors.train.on_torch.microbatch import collate, microbatches, shard


def datum(length: int, targets: int) -> Datum:
    ids = np.arange(length, dtype=np.int64)
    return Datum(ids, ids + 1, (ids < targets).astype(np.float32))


BATCHES = st.lists(
    st.integers(1, 30).flatmap(lambda n: st.builds(datum, st.just(n), st.integers(1, n))),
    min_size=1,
    max_size=20,
)


@given(BATCHES, st.integers(1, 5), st.integers(1, 100))
def test_every_row_goes_to_one_rank_and_one_group_within_the_budget(
    batch: list[Datum], world_size: int, max_tokens: int
):
    seen = []
    for rank in range(world_size):
        for group in microbatches(shard(batch, rank, world_size), max_tokens):
            assert len(group) * max(map(len, group)) <= max_tokens or len(group) == 1
            seen += [id(row) for row in group]
    assert sorted(seen) == sorted(map(id, batch))


@given(BATCHES)
def test_normalised_weights_sum_to_one(batch: list[Datum]):
    total = sum(float(d.weights.sum()) for d in normalised(batch))
    assert total == pytest.approx(1, abs=1e-5)


def test_collate_pads_on_the_right_and_keeps_targets_only():
    batch = collate([datum(3, 2), datum(2, 1)], torch.device("cpu"))
    assert batch.token_ids.tolist() == [[0, 1, 2], [0, 1, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.is_target.tolist() == [[True, True, False], [True, False, False]]
    assert batch.target_ids.tolist() == [1, 2, 1]
    assert batch.weights.tolist() == [1, 1, 1]
