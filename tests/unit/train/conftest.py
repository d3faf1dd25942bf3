"""A small base on disk, conversations, and training in this process."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from small_base import write_small_base
from small_training import small_config, small_datums, train_in_process
from tinker_front import KEY, NoDownloads, Opened, local_front

from actors.train.datum import Datum
from actors.train.metrics import OnStep, StepMetrics
from configs.sft import SftConfig
from serve.openai.keys import keys_from


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a transformers directory."""
    return write_small_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def datums() -> list[Datum]:
    return small_datums(10)


@pytest.fixture
def sft_config(small_base: str) -> Callable[..., SftConfig]:
    """A config for the small base, with dropout; fields can be given."""
    return partial(small_config, small_base, lora={"rank": 4, "alpha": 8, "dropout": 0.1})


@pytest.fixture
def train_here(datums: list[Datum]) -> Callable[..., list[StepMetrics]]:
    """Run a config in this process; returns the steps that were shown."""

    def train(
        config: SftConfig,
        folder: Path,
        on_step: OnStep | None = None,
        validation: Sequence[Datum] = (),
    ) -> list[StepMetrics]:
        return train_in_process(config, datums, folder, on_step, validation)

    return train


@pytest.fixture(scope="session")
def downloads() -> NoDownloads:
    """The layer before `front`, which can refuse to give weights away."""
    return NoDownloads()


@pytest.fixture(scope="session")
def front(
    small_base: str, tmp_path_factory: pytest.TempPathFactory, downloads: NoDownloads
) -> Iterator[Opened]:
    """Tinker's protocol over the small base, with keys."""
    given = {"HOTHOUSE_ADMIN_KEYS": KEY, "HOTHOUSE_API_KEYS": "tml-user"}
    keys = keys_from(given, on_loopback=True)
    folder = tmp_path_factory.mktemp("service")
    with local_front(small_base, folder, keys, layer=downloads.before) as opened:
        yield opened
