"""How many of the machine's cores a process of a training run computes on."""

import os

import pytest
import torch

from actors.train.on_torch.process import share_threads


@pytest.mark.parametrize(
    ("cores", "processes", "beside_sampler", "threads"),
    [
        (16, 1, False, 15),
        (16, 4, False, 3),
        (16, 1, True, 8),  # a policy's server takes the others
        (16, 4, True, 2),
        (2, 1, True, 1),
        (1, 1, True, 1),
        (1, 3, False, 1),
    ],
)
def test_it_leaves_what_others_compute_on(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, beside_sampler: bool, threads: int
):
    taken: list[int] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    share_threads(processes, beside_sampler=beside_sampler)
    assert taken == [threads]
