"""A small base, a data set, and an undisturbed run on them with two workers of Ray Train."""

import pytest
from small_base import write_small_base
from small_training import Trained, small_config, small_datums

from actors.train.datum import Datum
from actors.train.metrics import StepMetrics
from actors.train.on_ray.trainer import train_sft
from actors.train.sft_loop import SftData
from configs.sft import SftConfig


@pytest.fixture(scope="session")
def sft_config(tmp_path_factory: pytest.TempPathFactory) -> SftConfig:
    """Two epochs of three steps, the last one of an epoch with fewer rows than workers."""
    return small_config(write_small_base(tmp_path_factory.mktemp("base")), max_failures=1)


@pytest.fixture(scope="session")
def datums() -> list[Datum]:
    return small_datums(9)


@pytest.fixture(scope="session")
def trained_by_two(
    ray_cluster: None,
    sft_config: SftConfig,
    datums: list[Datum],
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """What two workers make of them when nothing disturbs them."""
    folder, steps = tmp_path_factory.mktemp("two"), list[StepMetrics]()
    config = sft_config.model_copy(update={"num_workers": 2})
    data = SftData(datums)
    saved = train_sft(config, data, run_id="run", folder=str(folder), on_step=steps.append)
    return Trained(folder, steps, saved)
