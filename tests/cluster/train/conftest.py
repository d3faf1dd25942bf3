"""A small base and a data set for runs on Ray Train."""

import pytest
from small_base import write_small_base
from small_training import small_config, small_datums

from actors.train.datum import Datum
from configs.sft import SftConfig


@pytest.fixture(scope="session")
def sft_config(tmp_path_factory: pytest.TempPathFactory) -> SftConfig:
    """Two epochs of three steps, the last one of an epoch with fewer rows than workers."""
    return small_config(write_small_base(tmp_path_factory.mktemp("base")), max_failures=1)


@pytest.fixture(scope="session")
def datums() -> list[Datum]:
    return small_datums(9)
