"""Training on rewards on a real Ray Train: a worker that is killed changes no bit."""

from pathlib import Path

import local_sampler
import planted_faults
import pytest
import ray.cloudpickle
import small_base
import small_grpo
from small_grpo import (
    PlainLetters,
    SamplerHere,
    assert_same_steps,
    digests_of,
    rollouts_of,
    small_grpo_config,
    write_outspoken_base,
)

from actors.train.grpo.metrics import GrpoMetrics
from actors.train.on_ray import trainer
from configs.grpo import GrpoConfig

# Ray's workers cannot import what only the tests' path has.
for module in (planted_faults, small_grpo, small_base, local_sampler):
    ray.cloudpickle.register_pickle_by_value(module)


def train(config: GrpoConfig, folder: Path) -> list[GrpoMetrics]:
    rows: list[GrpoMetrics] = []
    task, sampler = PlainLetters(), SamplerHere(config.base_model)
    trainer.train_grpo(config, task, sampler, run_id="run", folder=str(folder), on_step=rows.append)
    return rows


@pytest.mark.timeout(400)
def test_a_leader_that_is_killed_changes_no_bit(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    base = write_outspoken_base(tmp_path / "base")
    config = small_grpo_config(base, num_workers=2, max_failures=2)
    whole = train(config, tmp_path / "whole")
    monkeypatch.setattr(trainer, "work", planted_faults.leader_killed)
    disturbed = train(config, tmp_path / "disturbed")
    assert (tmp_path / "disturbed" / "fault-computed-3-0").exists()
    assert_same_steps(disturbed, whole)
    assert digests_of(tmp_path / "disturbed") == digests_of(tmp_path / "whole")
    assert rollouts_of(tmp_path / "disturbed") == rollouts_of(tmp_path / "whole")
