"""How many replicas Serve is asked for."""

import pytest

from configs.errors import UserError
from configs.sections import ServerConfig
from serve.launch import _on_half, _scale


def test_a_fixed_number_and_a_range() -> None:
    assert _scale(ServerConfig(num_replicas=2)) == {"num_replicas": 2}
    config = _scale(ServerConfig(num_replicas=1, max_replicas=3, max_batch=8))["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas) == (1, 3)
    assert config.target_ongoing_requests == 16


@pytest.mark.parametrize(("cores", "replicas", "threads"), [(2, 1, 1), (16, 2, 4), (1, 4, 1)])
def test_half_of_the_cores_are_left_to_a_trainer(cores: int, replicas: int, threads: int) -> None:
    assert _on_half(ServerConfig(num_replicas=replicas), cores).threads == threads
    assert _on_half(ServerConfig(threads=3), cores).threads == 3


def test_a_range_is_not_empty() -> None:
    with pytest.raises(UserError, match=r"max_replicas=1 is less than server\.num_replicas=2"):
        _scale(ServerConfig(num_replicas=2, max_replicas=1))
