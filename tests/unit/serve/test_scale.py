"""How many replicas Serve is asked for."""

import pytest

from configs.errors import UserError
from configs.sections import ServerConfig
from serve.launch import _scale


def test_a_fixed_number_and_a_range() -> None:
    assert _scale(ServerConfig(num_replicas=2)) == {"num_replicas": 2}
    config = _scale(ServerConfig(num_replicas=1, max_replicas=3, max_batch=8))["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas) == (1, 3)
    assert config.target_ongoing_requests == 16


def test_a_range_is_not_empty() -> None:
    with pytest.raises(UserError, match=r"max_replicas=1 is less than server\.num_replicas=2"):
        _scale(ServerConfig(num_replicas=2, max_replicas=1))
