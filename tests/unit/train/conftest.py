"""A small base on disk, conversations, and training in this process."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from small_base import write_small_base
from small_grpo import write_outspoken_base
from small_training import service_config, small_config, small_datums, train_in_process
from tinker_front import KEY, NoDownloads, Opened, local_front

from actors.train.checkpoint import SavedCheckpoint
from actors.train.datum import Datum
from actors.train.metrics import OnStep, StepMetrics
from actors.train.on_tinker.trainer import train_on_tinker
from actors.train.sft_loop import SftData
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


@pytest.fixture
def to_front(front: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which Tinker's SDK finds the front."""
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.setenv("TINKER_BASE_URL", front.url)


@pytest.fixture(scope="session")
def whole(
    front: Opened, small_base: str, datums: list[Datum], tmp_path_factory: pytest.TempPathFactory
) -> list[SavedCheckpoint]:
    """The checkpoints of a run on the front that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINKER_API_KEY", KEY)
        patch.setenv("TINKER_BASE_URL", front.url)
        folder, config = str(tmp_path_factory.mktemp("whole")), service_config(small_base)
        data = SftData(datums)
        return train_on_tinker(config, data, run_id="run", folder=folder, on_step=lambda m: None)


@pytest.fixture(scope="session")
def outspoken_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a base that a few steps of reinforcement learning change."""
    return write_outspoken_base(tmp_path_factory.mktemp("outspoken"))
