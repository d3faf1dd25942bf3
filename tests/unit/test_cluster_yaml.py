"""cluster.yaml is what `ray up` accepts, with the safety that docs/cluster.md promises."""

from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())


def test_ray_accepts_it():
    prepared = prepare_config(CLUSTER)
    validate_config(prepared)
    assert prepared["available_node_types"]["head"]["resources"] == {"CPU": 4}


def test_ray_would_refuse_a_misspelt_field():
    with pytest.raises(Exception, match="max_worker"):
        validate_config({**prepare_config(CLUSTER), "max_worker": 3})


def test_every_node_starts_with_token_authentication():
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [c for c in CLUSTER[commands] if "ray start" in c]
        assert starts
        assert all("RAY_AUTH_MODE=token" in c for c in starts)


def test_gpu_workers_scale_from_zero_on_spot():
    gpu = CLUSTER["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
