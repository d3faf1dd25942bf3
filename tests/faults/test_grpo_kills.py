"""Training on rewards, the whole path: Ray Train, the hand-over, the server; two of them killed."""

from pathlib import Path

import local_sampler
import planted_faults
import pytest
import ray.cloudpickle
import small_base
import small_grpo
import torch
from serve_processes import replica_processes
from small_grpo import (
    HeldBack,
    PlainLetters,
    assert_same_steps,
    digests_of,
    rollouts_of,
    run_small_grpo,
    small_grpo_config,
    write_outspoken_base,
)

from actors.train.grpo.metrics import GrpoMetrics
from actors.train.on_ray import trainer
from actors.train.on_torch.process import share_threads
from configs.sections import ServerConfig
from serve.launch import policy_server

# Ray's workers cannot import what only the tests' path has.
for module in (planted_faults, small_grpo, small_base, local_sampler):
    ray.cloudpickle.register_pickle_by_value(module)

_KILLED_AFTER = 2  # steps


@pytest.mark.timeout(400)
def test_a_replica_and_then_the_leading_worker_that_are_killed_change_no_bit(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    base = write_outspoken_base(tmp_path / "base")
    config = small_grpo_config(base)
    threads = torch.get_num_threads()
    share_threads(1)  # as many as one worker has
    here = run_small_grpo(config, tmp_path / "here", task=PlainLetters(held=0))
    torch.set_num_threads(threads)
    mark, rows = tmp_path / "killed", list[GrpoMetrics]()

    def on_step(row: GrpoMetrics) -> None:
        rows.append(row)
        if row.step == _KILLED_AFTER:
            [replica] = replica_processes()
            replica.kill()
            mark.touch()

    free = _KILLED_AFTER * config.problems_per_batch * config.group_size
    task = HeldBack(free, str(mark))
    server = ServerConfig(device="cpu", max_adapters=4, max_batch=16, cache_tokens=2048)
    monkeypatch.setattr(trainer, "work", planted_faults.leader_killed)
    with policy_server(base, server) as sampler:
        folder = str(tmp_path / "served")
        trainer.train_grpo(config, task, sampler, run_id="run", folder=folder, on_step=on_step)
    assert mark.exists()
    assert (tmp_path / "served" / "fault-computed-3-0").exists()
    assert_same_steps(rows, here)
    assert rollouts_of(tmp_path / "served") == rollouts_of(tmp_path / "here")
    assert digests_of(tmp_path / "served") == digests_of(tmp_path / "here")
