"""Splitting a batch loses nothing and stays within its budget."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.train.datum import Datum, normalised
from actors.train.on_torch.documents import DOCUMENTS
from actors.train.on_torch.microbatch import collate, microbatches, rows_of, shard

CPU = torch.device("cpu")


def datum(length: int, targets: int) -> Datum:
    ids = np.arange(length, dtype=np.int64)
    return Datum(ids, ids + 1, (ids < targets).astype(np.float32))


BATCHES = st.lists(
    st.integers(1, 30).flatmap(lambda n: st.builds(datum, st.just(n), st.integers(0, n))),
    min_size=1,
    max_size=20,
)


@given(BATCHES, st.integers(1, 5), st.integers(1, 100), st.integers(0, 30))
def test_every_row_goes_to_one_rank_and_one_group_within_the_budget(
    batch: list[Datum], world_size: int, max_tokens: int, reach: int
):
    rows = rows_of(batch, "cross_entropy", reads_all=False)
    seen = []
    for rank in range(world_size):
        for group in microbatches(shard(rows, rank, world_size), max_tokens, reach):
            tensors = collate(group, reach, CPU)
            assert tensors.inputs["input_ids"].numel() <= max_tokens or len(group) == 1
            assert (DOCUMENTS in tensors.inputs) == (max(map(len, group)) <= reach)
            assert len({len(row) <= reach for row in group}) == 1
            seen += [id(row.datum) for row in group]
    assert sorted(seen) == sorted(map(id, batch))


@given(BATCHES, st.integers(1, 100), st.integers(0, 30), st.booleans())
def test_every_target_is_read_once_from_its_own_token(
    batch: list[Datum], max_tokens: int, reach: int, reads_all: bool
):
    rows = rows_of(batch, "cross_entropy", reads_all)
    read = {}
    for group in microbatches(shard(rows, 0, 1), max_tokens, reach):
        tensors = collate(group, reach, CPU)
        inputs = tensors.inputs["input_ids"].flatten()[tensors.reads]
        assert torch.equal(inputs + 1, tensors.target_ids)
        assert tensors.given.weights is not None
        places = tensors.places[tensors.reads]
        found = zip(places.tolist(), tensors.given.weights.tolist(), strict=True)
        read |= {
            place: (weight, t) for (place, weight), t in zip(found, inputs.tolist(), strict=True)
        }
    weights = np.concatenate([d.weights for d in batch])  # type: ignore[arg-type]
    tokens = np.concatenate([d.token_ids for d in batch])
    expected = {
        place: (weight, token)
        for place, (weight, token) in enumerate(zip(weights.tolist(), tokens.tolist(), strict=True))
        if weight or reads_all
    }
    assert read == expected


@given(BATCHES)
def test_normalised_weights_sum_to_one_or_teach_nothing(batch: list[Datum]):
    total = sum(float(d.weights.sum()) for d in normalised(batch) if d.weights is not None)
    assert total == pytest.approx(float(any(d.target_tokens for d in batch)), abs=1e-5)


def test_documents_are_packed_with_positions_of_their_own():
    rows = rows_of([datum(3, 2), datum(2, 1)], "cross_entropy", reads_all=False)
    batch = collate(rows, 3, CPU)
    assert batch.inputs["input_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch.inputs[DOCUMENTS].bounds.tolist() == [0, 3, 5]
    assert batch.reads.tolist() == [0, 1, 3]
    assert batch.places.tolist() == [0, 1, 2, 3, 4]


def test_rows_beyond_the_reach_are_padded_on_the_right():
    rows = rows_of([datum(3, 2), datum(2, 1)], "cross_entropy", reads_all=False)
    batch = collate(rows, 2, CPU)
    assert batch.inputs["input_ids"].tolist() == [[0, 1, 2], [0, 1, 0]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.reads.tolist() == [0, 1, 3]
    assert batch.places.tolist() == [0, 1, 2, 3, 4, 0]
    assert batch.target_ids.tolist() == [1, 2, 1]
