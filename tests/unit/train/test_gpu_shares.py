"""Who gets which part of a GPU: nobody meets its like on one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.train.gpu_shares import GpuShares, gpu_shares
from configs.errors import UserError


def test_without_gpus_nobody_gets_one() -> None:
    assert gpu_shares(0, (2, 2), 1, shared=True) == GpuShares(0, 0)
    assert gpu_shares(0, (1, 4), 3, shared=False) == GpuShares(0, 0)


def test_apart_each_process_has_a_gpu_of_its_own() -> None:
    assert gpu_shares(3, (2, 2), 1, shared=False) == GpuShares(1, 1)
    assert gpu_shares(3, (2, 8), 1, shared=False) == GpuShares(1, 1)
    with pytest.raises(UserError, match=r"take a GPU each, the cluster has 1.*share_gpus=true"):
        gpu_shares(1, (1, 1), 1, shared=False)


def test_who_shares_comes_in_pairs() -> None:
    with pytest.raises(UserError, match=r"num_workers is 2 and server\.num_replicas=1"):
        gpu_shares(8, (2, 2), 1, shared=True)
    with pytest.raises(UserError, match=r"num_workers is \[1, 2\]"):
        gpu_shares(8, (1, 2), 2, shared=True)
    with pytest.raises(UserError, match="needs 4 GPUs, the cluster has 2"):
        gpu_shares(2, (4, 4), 4, shared=True)


@given(pairs=st.integers(1, 8))
def test_on_a_shared_gpu_are_a_worker_and_a_replica(pairs: int) -> None:
    """In the order in which they come: replicas, then workers, each where least room is left."""
    shares = gpu_shares(pairs, (pairs, pairs), pairs, shared=True)
    room, found = [1.0] * pairs, [""] * pairs
    for kind, share in [("r", shares.replica)] * pairs + [("w", shares.worker)] * pairs:
        left, gpu = min((left, gpu) for gpu, left in enumerate(room) if left >= share - 1e-9)
        room[gpu], found[gpu] = left - share, found[gpu] + kind
    assert found == ["rw"] * pairs
